"""The same boundaries on the real logs: a process dies there, another opens the database anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.boundary import Stop
from tests.crash.crash_plans import WHOLE, boundaries, deaths, kind_of
from tests.crash.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.crash.sql_world import run_plan_on

SHORT = [scenario for scenario in SCENARIOS if not scenario.takes_its_time]


@pytest.mark.parametrize("name", ["completed", "address XX"])
def test_undisturbed_the_calls_are_the_same_on_a_real_database(database_url: str, name: str) -> None:
    scenario = BY_NAME[name]
    undisturbed = run_plan_on(database_url, scenario)
    assert not undisturbed.verdict.wrong
    # The loops' first calls go out side by side, so the database decides which of them is the first.
    assert sorted(undisturbed.passed[0][:3]) == sorted(boundaries(scenario)[:3])
    assert undisturbed.passed[0][3:] == boundaries(scenario)[3:]


def test_a_crash_at_each_kind_of_boundary_is_recovered_from_on_a_real_database(database_url: str) -> None:
    """Before and after its effect: each call of the log's, and each verb of a service's."""
    plans = list(_of_each_kind(BY_NAME["completed"], BY_NAME["address XX"]))
    assert len(plans) >= 16
    verdicts = [run_plan_on(database_url, scenario, stop).verdict for scenario, stop in plans]
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []


@pytest.mark.proof
@pytest.mark.parametrize("scenario", SHORT, ids=str)
def test_a_crash_at_every_boundary_is_recovered_from_on_a_real_database(
    database_url: str, scenario: Scenario
) -> None:
    """Before and after its effect."""
    verdicts = [run_plan_on(database_url, scenario, stop).verdict for stop in deaths(scenario, extent=WHOLE)]
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []


def _of_each_kind(*scenarios: Scenario) -> Iterator[tuple[Scenario, Stop]]:
    """Yield the deaths at the first boundary of each kind."""
    first: dict[str, tuple[Scenario, int]] = {}
    for scenario in scenarios:
        for at, boundary in enumerate(boundaries(scenario), start=1):
            first.setdefault(kind_of(boundary), (scenario, at))
    for scenario in scenarios:
        for stop in deaths(scenario, extent=WHOLE):
            if (scenario, stop.at) in first.values():
                yield scenario, stop
