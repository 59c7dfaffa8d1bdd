"""The plans of crashes: all there are, or the sample of each kind that there is time for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice

from tests.crash.boundary import DEATHS, Stop, modes_at
from tests.crash.plan_run import PlanRun, run_plan, two_owners
from tests.crash.scenarios import SCENARIOS, Scenario

KEEPS_HOUSE = ("log.renew", "log.claim", "log.load", "log.release")
"""Calls that are no saga's own; the same in every scenario that doesn't wait."""

THOROUGH = {"completed", "parked"}
"""Scenarios in which a sample also tries those."""

RARE = ("get", "log.abandon", "log.operate", "log.request_cancel")
"""Kinds of calls that one scenario alone makes: a sample tries them in every mode."""

run_plan_once = cache(run_plan)
two_owners_once = cache(two_owners)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is tried: one in so many modes and pairs of stops, and all calls or a saga's own."""

    modes: int = 1
    pairs: int = 1
    all_calls: bool = True

    def __str__(self) -> str:
        return next(name for name, extent in EXTENTS.items() if extent is self)


SAMPLE = Extent(modes=2, pairs=101, all_calls=False)
"""For `make test`: in each scenario each call of the saga's, in every other mode; all modes over all scenarios."""
BROAD = Extent(pairs=37)
"""For `make proof`: each call in each mode, and a sample of pairs."""
WHOLE = Extent()
"""For `make crash`: everything."""
EXTENTS = {"a sample": SAMPLE, "broad": BROAD, "everything": WHOLE}


def boundaries(scenario: Scenario) -> list[str]:
    """Return every call that the undisturbed scenario makes, in its order."""
    return run_plan_once(scenario).passed[0]


def single_crashes(scenario: Scenario, *, extent: Extent) -> list[Stop]:
    """Return what can happen at a boundary, for every boundary."""
    passed = boundaries(scenario)
    return [
        Stop(at, mode)
        for at, turn in _tried(scenario, passed, extent)
        for number, mode in enumerate(modes_at(passed[at - 1]))
        if kind_of(passed[at - 1]) in RARE or (number + turn) % extent.modes == 0
    ]


def deaths(scenario: Scenario, *, extent: Extent) -> list[Stop]:
    """Return a death before or after the effect of every boundary, or both."""
    return [stop for stop in single_crashes(scenario, extent=extent) if stop.mode in DEATHS]


def double_crashes(scenario: Scenario, *, extent: Extent) -> Iterator[tuple[Stop, Stop]]:
    """Yield deaths, each with the deaths of the process that recovers from it."""
    yield from _with_seconds(scenario, run_plan_once, extent)


def interleavings(scenario: Scenario, *, extent: Extent) -> Iterator[tuple[Stop, ...]]:
    """Yield where A is stopped, alone and with each stop of B, who takes over."""
    yield from ((stop,) for stop in deaths(scenario, extent=extent))
    yield from _with_seconds(scenario, two_owners_once, extent)


def _with_seconds(
    scenario: Scenario, run: Callable[[Scenario, Stop], PlanRun], extent: Extent
) -> Iterator[tuple[Stop, Stop]]:
    """Yield each first stop with each stop of the second process that it makes necessary."""
    pairs = (
        (first, Stop(at, mode))
        for first in deaths(scenario, extent=extent)
        for second in run(scenario, first).passed[1:2]
        for at, _ in _tried(scenario, second, extent)
        for mode in DEATHS
    )
    yield from islice(pairs, 0, None, extent.pairs)


def _tried(scenario: Scenario, passed: list[str], extent: Extent) -> Iterator[tuple[int, int]]:
    """Yield the numbers of the boundaries to try, from 1, each with whose turn among its kind and the scenarios it is."""
    seen = Counter({kind_of(boundary): SCENARIOS.index(scenario) for boundary in passed})
    for at, boundary in enumerate(passed, start=1):
        repeated = at > 1 and passed[at - 2] == boundary
        keeps_house = boundary in KEEPS_HOUSE and scenario.name not in THOROUGH
        if extent.all_calls or not (repeated or keeps_house):
            yield at, seen[kind_of(boundary)]
            seen[kind_of(boundary)] += 1


def kind_of(boundary: str) -> str:
    """Return a boundary's kind: the call of the log's, or the verb of a service's."""
    port, _, call = boundary.partition(".")
    return boundary.partition(" ")[0] if port in {"log", "clock"} else call
