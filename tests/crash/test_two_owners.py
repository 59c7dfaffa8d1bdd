"""A is stopped at any boundary, B takes over and finishes, A wakes: it changes nothing at all."""

from __future__ import annotations

from tests.crash.crash_plans import Extent, deaths, interleavings, two_owners_once
from tests.crash.params import BY_SCENARIO
from tests.crash.plan_run import two_owners
from tests.crash.scenarios import Scenario


@BY_SCENARIO
def test_a_zombie_changes_nothing(scenario: Scenario, extent: Extent) -> None:
    """The log and the services' books are the same; at most the one request that it had in hand arrives, without effect."""
    verdicts = [two_owners_once(scenario, stop).verdict for stop in deaths(scenario, extent=extent)]
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []


@BY_SCENARIO
def test_a_zombie_that_wakes_while_its_heir_is_at_work_moves_nothing_of_its(
    scenario: Scenario, extent: Extent
) -> None:
    """B is stopped at a boundary of its own while A is awake; a sample of all pairs, which `make crash` runs."""
    pairs = [stops for stops in interleavings(scenario, extent=extent) if len(stops) > 1]
    verdicts = [two_owners(scenario, *stops).verdict for stops in pairs]
    assert verdicts
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []
