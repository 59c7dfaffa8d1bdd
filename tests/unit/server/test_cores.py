"""How many cores a process may use: those of its affinity, and what its container pays for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.server.cores import usable_cores

HERE = len(os.sched_getaffinity(0))


def of(groups: Path, **files: str) -> int:
    for name, text in files.items():
        path = groups / name.replace("__", "/").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    membership = groups / "membership"
    membership.write_text("0::/pods/one\n")
    return usable_cores(groups, membership)


def test_without_a_quota_they_are_those_of_the_affinity(tmp_path: Path) -> None:
    assert of(tmp_path) == of(tmp_path, cpu_max="max 100000\n") == HERE


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1), ("50000", 1), ("190000", 1), ("9900000", HERE)])
def test_a_quota_counts_in_whole_cores_and_never_below_one(tmp_path: Path, quota: str, cores: int) -> None:
    """With one and a half a second worker would only wait."""
    assert of(tmp_path, pods__one__cpu_max=f"{quota} 100000\n") == cores


def test_the_quota_of_a_group_around_it_counts_too(tmp_path: Path) -> None:
    assert of(tmp_path, pods__cpu_max="100000 100000\n", pods__one__cpu_max="max 100000\n") == 1


def test_the_quota_of_an_older_kernel_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert of(tmp_path) == 1
