"""Which process runs which tests: what belongs together isn't parted, and what waits isn't left for the end."""

from __future__ import annotations

from typing import Any, cast

import pytest
from xdist.workermanage import WorkerController

from tests import schedule
from tests.processes import ROOT
from tests.schedule import SECONDS, SPREAD, Schedule, unit_of

CHAOS = ("tests/chaos/storm/test_storm.py::test_a", "tests/chaos/storm/test_storm.py::test_b")
TESTS = [
    *(f"tests/spec/test_promises.py::test_{number}" for number in range(5)),
    *(f"tests/crash/test_crashes.py::test_{name}[declined]" for name in "ab"),
    *(f"tests/docs/test_links.py::test_{number}" for number in range(3)),
    *CHAOS,
]


class _Process:
    """A process of the run, as far as it is asked to run tests."""

    def __init__(self, number: int) -> None:
        self.gateway = type("Gateway", (), {"id": f"gw{number}"})()
        self.shutting_down = False
        self.asked: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.asked += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class _Config:
    """What the scheduler reads of pytest's configuration."""

    option = type("Option", (), {"loadscopereorder": True})()

    def __init__(self, processes: int) -> None:
        self._processes = processes

    def getvalue(self, name: str) -> Any:
        return {"tx": ["popen"] * self._processes}[name]


def _begun(count: int) -> tuple[Schedule, list[_Process]]:
    """Return a run that begins with so many processes."""
    run = Schedule(cast("pytest.Config", _Config(count)))
    processes = [_Process(number) for number in range(count)]
    for one in processes:
        run.add_node(cast("WorkerController", one))
    for one in processes:
        run.add_node_collection(cast("WorkerController", one), TESTS)
    run.schedule()
    return run, processes


def _carried_out(run: Schedule, processes: list[_Process]) -> list[list[str]]:
    """Have each process run one test after the other; return which tests each has run."""
    done: list[list[str]] = [[] for _ in processes]
    while sum(map(len, done)) < len(TESTS):
        for ran, process in zip(done, processes, strict=True):
            if len(ran) < len(process.asked):
                index = process.asked[len(ran)]
                ran.append(TESTS[index])
                run.mark_test_complete(cast("WorkerController", process), index)
    return done


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_test_runs_once_and_a_units_tests_in_one_process(count: int) -> None:
    done = _carried_out(*_begun(count))
    assert sorted(test for ran in done for test in ran) == sorted(TESTS)
    units = [{unit_of(test) for test in ran} for ran in done]
    assert sum(map(len, units)) == len(set.union(*units))


def test_what_waits_begins_at_once_beside_what_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the processes beyond the cores', or in the last one where there are no more."""
    monkeypatch.setattr(schedule, "cores", lambda: 2)
    for count, waiting in ((4, [2, 3]), (2, [1])):
        _, processes = _begun(count)
        firsts = [TESTS[process.asked[0]] in CHAOS for process in processes]
        assert [number for number, waits in enumerate(firsts) if waits] == waiting


def test_a_modules_tests_belong_together_unless_it_is_spread_by_parameters() -> None:
    assert unit_of("tests/docs/test_links.py::test_a[x]") == "tests/docs/test_links.py"
    same = {unit_of(f"tests/crash/test_crashes.py::{name}[declined]") for name in ("test_a", "test_b")}
    other = unit_of("tests/crash/test_crashes.py::test_a[completed]")
    assert len(same | {other}) == 2
    assert unit_of("tests/crash/test_crashes.py::test_a") != unit_of("tests/crash/test_crashes.py::test_b")


def test_the_modules_that_are_named_are_there() -> None:
    assert [name for name in {*SPREAD, *SECONDS} if not (ROOT / name).is_file()] == []
