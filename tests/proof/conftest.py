"""The evidence of a real run, for all tests of the checker."""

from __future__ import annotations

import asyncio

import pytest

from tests.proof.evidence import Evidence
from tests.proof.small_run import a_small_run


@pytest.fixture(scope="session")
def right(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Give the evidence of a real run, in which nothing went wrong that the service doesn't answer for."""
    return asyncio.run(a_small_run(tmp_path_factory.mktemp("run") / "checkout.db"))
