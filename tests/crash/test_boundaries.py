"""The boundaries themselves: which there are, and that nobody dies where nothing happens."""

from __future__ import annotations

import pytest

from tests.crash.crash_plans import run_plan_once
from tests.crash.record import observed, recorded
from tests.crash.scenarios import SCENARIOS, Scenario


def test_the_boundaries_are_those_that_were_recorded() -> None:
    """A new call through a port needs its crash: look at the difference, then `python -m tests.crash --record`."""
    assert observed().splitlines() == recorded().splitlines()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_undisturbed_each_scenario_ends_as_it_says(scenario: Scenario) -> None:
    """Without a crash, by the same checker."""
    assert not run_plan_once(scenario).verdict.wrong
