"""A stage of its own for each test that wants one."""

from __future__ import annotations

import pytest

from tests.unit.saga.engine.stage import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()
