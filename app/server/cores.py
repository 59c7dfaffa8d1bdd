"""How many processor cores this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(groups: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the cores that this process may run on, no more than its container's quota pays for; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _quotas(groups, membership))]))


def _quotas(groups: Path, membership: Path) -> Iterator[float]:
    """Yield the quotas, in cores, of this process's control group and of those around it (cgroup v2, then v1)."""
    own = "/"
    for line in _read(membership).splitlines():
        if line.startswith("0::"):
            own = line.removeprefix("0::")
    place = groups / own.strip("/")
    for group in (place, *place.parents):
        if not group.is_relative_to(groups):
            break
        quota, _, period = _read(group / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)
    quota, period = (_read(groups / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if quota.isdigit() and period.isdigit():
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
