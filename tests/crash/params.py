"""Each scenario with a sample of its plans, and in `make proof` with many more."""

from __future__ import annotations

import pytest

from tests.crash.crash_plans import BROAD, SAMPLE
from tests.crash.scenarios import SCENARIOS

BY_SCENARIO = pytest.mark.parametrize(
    ("scenario", "extent"),
    [
        pytest.param(scenario, extent, marks=marks)
        for extent, marks in ((SAMPLE, []), (BROAD, [pytest.mark.proof]))
        for scenario in SCENARIOS
    ],
    ids=str,
)
"""The tests of one scenario run in one process (`tests/schedule.py`), as they share runs."""
