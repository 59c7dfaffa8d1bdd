"""The same boundaries on the real logs: a process dies there, another opens the database anew."""

from __future__ import annotations

import pytest

from tests.crash.scenarios import BY_NAME
from tests.crash.sql_world import live_on
from tests.crash.walk import boundaries, deaths


@pytest.mark.parametrize("name", ["completed", "address XX"])
def test_a_crash_at_a_boundary_is_recovered_from_on_a_real_database(database_url: str, name: str) -> None:
    """Every boundary, before and after its effect."""
    scenario = BY_NAME[name]
    undisturbed = live_on(database_url, scenario)
    assert not undisturbed.verdict.wrong
    # The loops' first calls go out side by side, so the database decides which of them is the first.
    assert sorted(undisturbed.passed[0][:3]) == sorted(boundaries(scenario)[:3])
    assert undisturbed.passed[0][3:] == boundaries(scenario)[3:]
    verdicts = [live_on(database_url, scenario, stop).verdict for stop in deaths(scenario, quick=False)]
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []
