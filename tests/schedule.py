"""Which of a run's processes runs which tests, and when: the longest first, and what waits beside what computes.

    gw0 … one process per core ── what computes ─▶ then what waits
    the others                 ── what waits    ─▶ then what computes

A module's tests run in one process, one after the other, as they share what was expensive to make: a service, two
databases, runs of a simulation. Some modules are long, and their tests share something by their parameters at most:
those are spread. pytest-xdist's own groups would need marks, which it doesn't see with pytest 9.2 (its issue 1386).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

WAITING_PROCESSES = 2
"""How many processes there are besides one per core: most of the tests in tests/chaos wait most of the time."""

SECONDS: Mapping[str, float] = {
    "tests/chaos/database/test_connections_cut.py": 5,
    "tests/chaos/database/test_disk_full.py": 1.5,
    "tests/chaos/database/test_failover.py": 6,
    "tests/chaos/database/test_silence.py": 1,
    "tests/chaos/database/test_standby_away.py": 4,
    "tests/chaos/processes/test_clock_skew.py": 15,
    "tests/chaos/processes/test_compose.py": 4,
    "tests/chaos/processes/test_draining.py": 8,
    "tests/chaos/processes/test_operators.py": 4,
    "tests/chaos/processes/test_poison.py": 12,
    "tests/chaos/processes/test_real_processes.py": 6,
    "tests/chaos/processes/test_resets_after_effect.py": 3,
    "tests/chaos/processes/test_subscribers.py": 5,
    "tests/chaos/processes/test_webhooks.py": 10,
    "tests/chaos/storm/test_storm.py": 7,
    "tests/docs/test_add_your_own_step.py": 2,
    "tests/docs/test_pages_work.py": 0.7,
    "tests/simulation/test_first_seeds.py": 4,
    "tests/simulation/test_simulation.py": 3,
    "tests/spec/test_command_line.py": 0.5,
    "tests/spec/test_connections.py": 2,
    "tests/spec/test_metrics.py": 2,
    "tests/spec/test_privacy.py": 3,
    "tests/spec/test_starting.py": 0.7,
    "tests/unit/api/test_fuzz.py": 2,
    "tests/unit/saga/engine/every_path/test_every_path.py": 1.5,
    "tests/unit/storage/engine/test_log_clock.py": 0.6,
    "tests/unit/storage/retention/test_retention.py": 0.5,
    "tests/unit/webhooks/test_sender.py": 0.6,
}
"""About how long each test of the long modules takes; another takes a tenth of a second."""
_OTHERS_SECONDS = 0.1

SPREAD = frozenset(
    {
        "tests/chaos/database/test_failover.py",
        "tests/chaos/processes/test_draining.py",
        "tests/chaos/processes/test_real_processes.py",
        "tests/chaos/storm/test_storm.py",
        "tests/crash/test_crashes.py",
        "tests/crash/test_real_databases.py",
        "tests/crash/test_two_owners.py",
        "tests/simulation/test_simulation.py",
        "tests/unit/saga/engine/every_path/test_every_path.py",
    }
)
"""The modules that aren't run by one process: their tests with the same parameters are."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def unit_of(nodeid: str) -> str:
    """Return what a test belongs to; one process runs all of that."""
    module, _, name = nodeid.partition("::")
    if module not in SPREAD:
        return module
    _, has_parameters, parameters = name.partition("[")
    return f"{module}::{parameters if has_parameters else name}"


def waits(unit: str) -> bool:
    """Return whether tests wait more than they compute."""
    return unit.startswith("tests/chaos/")


class Schedule(LoadScopeScheduling):
    """Gives each process the longest unit that is left of its kind; where there is none, of the other kind."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        waiting = self._waits_first(node)
        following = max(self.workqueue, key=lambda unit: (waits(unit) is waiting, self._seconds(unit)))
        self.workqueue.move_to_end(following, last=False)
        super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        """Look no further ahead than a process must: it has to know the test after the one that it runs."""
        if not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)

    def _waits_first(self, node: WorkerController) -> bool:
        number = int(node.gateway.id.removeprefix("gw"))
        return number >= min(cores(), self.numnodes - 1)

    def _seconds(self, unit: str) -> float:
        module = unit.partition("::")[0]
        return len(self.workqueue[unit]) * SECONDS.get(module, _OTHERS_SECONDS)
