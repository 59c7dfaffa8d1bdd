"""Which lives are tried: everything, or the faces of it that `make test` has time for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice

from tests.crash.boundary import DEATHS, Stop, modes_at
from tests.crash.lives import Lived, live, two_owners
from tests.crash.scenarios import Scenario

KEEPS_HOUSE = ("log.renew", "log.claim", "log.load", "log.release")
"""Calls that are no saga's own; the same in every scenario that doesn't wait."""

THOROUGH = {"completed", "parked"}
"""Scenarios in which the quick part also tries those."""

ONE_IN = 37
"""The quick part tries one in so many second stops."""

live_once = cache(live)
two_owners_once = cache(two_owners)


def boundaries(scenario: Scenario) -> list[str]:
    """Return every call that the undisturbed scenario makes, in its order."""
    return live_once(scenario).passed[0]


def single_crashes(scenario: Scenario, *, quick: bool) -> list[Stop]:
    """Return all that can happen at a boundary, for every boundary."""
    passed = boundaries(scenario)
    return [
        Stop(at, mode) for at in _tried(scenario, passed, quick=quick) for mode in modes_at(passed[at - 1])
    ]


def deaths(scenario: Scenario, *, quick: bool) -> list[Stop]:
    """Return a death before and after the effect of every boundary."""
    return [stop for stop in single_crashes(scenario, quick=quick) if stop.mode in DEATHS]


def double_crashes(scenario: Scenario, *, quick: bool) -> Iterator[tuple[Stop, Stop]]:
    """Yield each death with each death of the process that recovers from it."""
    yield from _with_seconds(scenario, live_once, quick=quick)


def interleavings(scenario: Scenario, *, quick: bool) -> Iterator[tuple[Stop, ...]]:
    """Yield where A is stopped, alone and with each stop of B, who takes over."""
    yield from ((stop,) for stop in deaths(scenario, quick=quick))
    yield from _with_seconds(scenario, two_owners_once, quick=quick)


def _with_seconds(
    scenario: Scenario, lived: Callable[[Scenario, Stop], Lived], *, quick: bool
) -> Iterator[tuple[Stop, Stop]]:
    """Yield each first stop with each stop of the second process that it makes necessary."""
    pairs = (
        (first, Stop(at, mode))
        for first in deaths(scenario, quick=quick)
        for second in lived(scenario, first).passed[1:2]
        for at in _tried(scenario, second, quick=quick)
        for mode in DEATHS
    )
    yield from islice(pairs, 0, None, ONE_IN if quick else 1)


def _tried(scenario: Scenario, passed: list[str], *, quick: bool) -> list[int]:
    """Return the numbers of the boundaries to try, from 1."""
    everything = range(1, len(passed) + 1)
    if not quick:
        return list(everything)
    thorough = scenario.name in THOROUGH
    again = {at for at in everything[1:] if passed[at - 1] == passed[at - 2]}
    return [at for at in everything if at not in again and (thorough or passed[at - 1] not in KEEPS_HOUSE)]
