"""A process dies, or loses its lease or an answer, at any boundary: another finishes, and all is well."""

from __future__ import annotations

import pytest

from tests.crash.boundary import LAPSES, Mode
from tests.crash.lives import live
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.walk import boundaries, deaths, double_crashes, live_once, single_crashes


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_whatever_happens_at_a_boundary_the_checkout_ends_well(scenario: Scenario) -> None:
    """Each call of the saga's, each mode, recovered from the log and the books alone; `make crash` tries all calls."""
    verdicts = [live_once(scenario, stop).verdict for stop in single_crashes(scenario, quick=True)]
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_crash_in_the_recovery_from_a_crash_changes_nothing_of_that(scenario: Scenario) -> None:
    """A sample of all pairs; `make crash` lives them all."""
    verdicts = [live(scenario, *stops).verdict for stops in double_crashes(scenario, quick=True)]
    assert verdicts
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_every_stop_is_reached_and_a_dead_process_does_no_more(scenario: Scenario) -> None:
    """It came to the call at which it died; what stood beside that call under way may have come to its own."""
    beside = 1
    for stop in deaths(scenario, quick=True):
        dead, *heirs = live_once(scenario, stop).passed
        assert dead == boundaries(scenario)[: len(dead)]
        assert stop.at <= len(dead) <= stop.at + beside * (stop.mode is Mode.AFTER)
        assert heirs


def test_every_mode_is_tried() -> None:
    """None of them is one that happens nowhere."""
    tried = {stop.mode for stop in single_crashes(SCENARIOS[0], quick=True)}
    assert tried == set(Mode)
    assert tried > LAPSES
