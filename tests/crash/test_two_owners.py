"""A stands still at any boundary, B takes over and finishes, A wakes: it changes nothing at all."""

from __future__ import annotations

import pytest

from tests.crash.lives import two_owners
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.walk import deaths, interleavings, two_owners_once


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_zombie_changes_nothing(scenario: Scenario) -> None:
    """The log and what stands are the same; at most the one request that it had in hand arrives, without effect."""
    verdicts = [two_owners_once(scenario, stop).verdict for stop in deaths(scenario, quick=True)]
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_zombie_that_wakes_while_its_heir_is_at_work_moves_nothing_of_its(scenario: Scenario) -> None:
    """B stands at a boundary of its own while A is awake; a sample of all pairs, which `make crash` lives."""
    pairs = [stops for stops in interleavings(scenario, quick=True) if len(stops) > 1]
    verdicts = [two_owners(scenario, *stops).verdict for stops in pairs]
    assert verdicts
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []
