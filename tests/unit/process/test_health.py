"""The checks behind /readyz, on a real database, and on one that is away."""

from __future__ import annotations

import asyncio

import pytest

from app.process.health import ServiceHealth
from app.saga.engine.lease import Lease
from app.storage import open_storage
from tests.builders import VirtualClock

LEASE_SECONDS = 10.0


def a_lease(clock: VirtualClock) -> Lease:
    """Return one that is held until the clock passes its end."""
    lease = Lease(clock, "one", LEASE_SECONDS)
    lease.renewed(clock.monotonic(), expires_at=clock.now())
    return lease


async def test_a_process_that_can_take_work_is_well(sqlite_url: str) -> None:
    """Every check is None."""
    async with open_storage(sqlite_url) as storage:
        health = ServiceHealth(storage, a_lease(VirtualClock()), asyncio.Event())
        assert await health.checks() == {"database": None, "schema": None, "lease": None, "draining": None}


async def test_a_lapsed_lease_and_a_drain_are_named(sqlite_url: str) -> None:
    """The database is well all the same."""
    clock, draining = VirtualClock(), asyncio.Event()
    async with open_storage(sqlite_url) as storage:
        health = ServiceHealth(storage, a_lease(clock), draining)
        clock.advance(LEASE_SECONDS)
        draining.set()
        assert await health.checks() == {
            "database": None,
            "schema": None,
            "lease": "The lease has lapsed.",
            "draining": "The process is stopping.",
        }


async def test_a_database_that_takes_no_writes_is_named(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be read, but the journal has been waiting to write."""
    async with open_storage(sqlite_url) as storage:
        monkeypatch.setattr(type(storage.journal), "unavailable", True)
        checks = await ServiceHealth(storage, a_lease(VirtualClock()), asyncio.Event()).checks()
    assert (checks["database"], checks["schema"]) == ("The database takes no writes.", None)


async def test_a_database_that_does_not_answer_is_named(sqlite_url: str) -> None:
    """Nothing is known of its schema then."""
    async with open_storage(sqlite_url) as storage:
        health = ServiceHealth(storage, a_lease(VirtualClock()), asyncio.Event(), timeout_seconds=0.01)
        places: int = storage.engine.pool.size()  # type: ignore[attr-defined]  # a pool of a fixed size
        busy = [await storage.engine.connect() for _ in range(places)]
        try:
            checks = await health.checks()
        finally:
            for one in busy:
                await one.close()
    assert checks["database"] == "The database does not answer."
    assert checks["schema"] == "Unknown while the database does not answer."
