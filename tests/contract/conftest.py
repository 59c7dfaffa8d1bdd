"""These tests also run through a PgBouncer, where the machine has one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.saga.ports.log import SagaLog
from app.saga.ports.memory_log import MemoryLog
from app.storage import open_storage
from tests.pgbouncer import DATABASES


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a migrated database of the test's own, on each in turn."""
    urls = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "pooled": "pooled_url"}
    return str(request.getfixturevalue(urls[request.param]))


@pytest.fixture(params=["memory", *DATABASES])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[SagaLog]:
    """Give each implementation in turn, empty."""
    if request.param == "memory":
        yield MemoryLog()
        return
    urls = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "pooled": "pooled_url"}
    url = request.getfixturevalue(urls[request.param])
    async with open_storage(url) as storage:
        yield storage.log
