"""A process dies, or loses its lease or an answer, at any boundary: another finishes, and all is well."""

from __future__ import annotations

from collections import defaultdict

from tests.crash.boundary import Mode, modes_at
from tests.crash.crash_plans import (
    SAMPLE,
    Extent,
    boundaries,
    deaths,
    double_crashes,
    kind_of,
    run_plan_once,
    single_crashes,
)
from tests.crash.params import BY_SCENARIO
from tests.crash.plan_run import run_plan
from tests.crash.scenarios import SCENARIOS, Scenario


@BY_SCENARIO
def test_whatever_happens_at_a_boundary_the_checkout_ends_well(scenario: Scenario, extent: Extent) -> None:
    """Recovered from the log and the books alone."""
    verdicts = [run_plan_once(scenario, stop).verdict for stop in single_crashes(scenario, extent=extent)]
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []


@BY_SCENARIO
def test_a_crash_in_the_recovery_from_a_crash_changes_nothing_of_that(
    scenario: Scenario, extent: Extent
) -> None:
    """A sample of all pairs; `make crash` runs them all."""
    verdicts = [run_plan(scenario, *stops).verdict for stops in double_crashes(scenario, extent=extent)]
    assert verdicts
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []


@BY_SCENARIO
def test_every_stop_is_reached_and_a_dead_process_does_no_more(scenario: Scenario, extent: Extent) -> None:
    """It came to the call at which it died; a call that was under way beside that one may have come to its own."""
    beside = 1
    for stop in deaths(scenario, extent=extent):
        dead, *heirs = run_plan_once(scenario, stop).passed
        assert dead == boundaries(scenario)[: len(dead)]
        assert stop.at <= len(dead) <= stop.at + beside * (stop.mode is Mode.AFTER)
        assert heirs


def test_a_sample_has_every_mode_at_every_kind_of_boundary() -> None:
    """Over all scenarios: each verb of a service's and each call of the log's, with all that can happen at it."""
    possible: defaultdict[str, set[Mode]] = defaultdict(set)
    tried: defaultdict[str, set[Mode]] = defaultdict(set)
    for scenario in SCENARIOS:
        passed = boundaries(scenario)
        for boundary in passed:
            possible[kind_of(boundary)].update(modes_at(boundary))
        for stop in single_crashes(scenario, extent=SAMPLE):
            tried[kind_of(passed[stop.at - 1])].add(stop.mode)
    assert set.union(*possible.values()) == set(Mode)
    assert tried == possible
