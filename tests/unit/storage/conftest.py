"""These tests also run through a PgBouncer, where the machine has one."""

from __future__ import annotations

import pytest

from tests.pgbouncer import DATABASES


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a migrated database of the test's own, on each in turn."""
    urls = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "pooled": "pooled_url"}
    return str(request.getfixturevalue(urls[request.param]))


@pytest.fixture(params=DATABASES[1:])
def any_postgres_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a migrated PostgreSQL database, and where the machine has a PgBouncer also of one through it."""
    return str(request.getfixturevalue({"postgresql": "postgres_url", "pooled": "pooled_url"}[request.param]))
