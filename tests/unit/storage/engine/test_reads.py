"""Statements that read: over connections that are kept, replaced once they broke, and never reused half-way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest

from app.saga import LogUnavailable
from app.storage.engine.database import Database
from app.storage.engine.reads import PostgresReads, Reads, SqliteReads

LIMIT = 20.0
PID = "SELECT pg_backend_pid() AS pid"


@pytest.fixture
async def reads(database_url: str) -> AsyncIterator[Reads]:
    database = Database(database_url)
    reads = (
        PostgresReads(database.connect_postgres, most=2)
        if database.is_postgres
        else SqliteReads(database.connect_sqlite, database.verify, most=2)
    )
    yield reads
    await reads.close()


@pytest.fixture
async def on_postgres(postgres_url: str) -> AsyncIterator[PostgresReads]:
    reads = PostgresReads(partial(Database(postgres_url).connect_postgres, command_seconds=LIMIT), most=1)
    yield reads
    await reads.close()


async def test_rows_are_read_by_name_and_equal_rows_are_equal(reads: Reads) -> None:
    place = "$1" if reads.is_postgres else "?1"
    sql = f"SELECT revision, CAST({place} AS text) AS given FROM schema_floor"  # noqa: S608 (a place)
    (one,), (same,), (other,) = [await reads.fetch(sql, given) for given in ("a", "a", "b")]
    assert one["given"] == "a"
    assert one == same
    assert one != other


async def test_more_reads_than_connections_wait_for_each_other(reads: Reads) -> None:
    found = await asyncio.gather(*(reads.fetch("SELECT revision FROM schema_floor") for _ in range(20)))
    assert len({one[0]["revision"] for one in found}) == 1


async def test_what_the_database_refuses_is_the_logs_own_error(reads: Reads) -> None:
    for _ in range(3):  # the connection stays as good as it was
        with pytest.raises(LogUnavailable):
            await reads.fetch("SELECT nothing FROM nowhere")
    assert await reads.fetch("SELECT revision FROM schema_floor")


async def test_a_connection_that_broke_while_idle_is_replaced_unnoticed(
    on_postgres: PostgresReads, postgres_url: str
) -> None:
    pid = (await on_postgres.fetch(PID))[0]["pid"]
    other = await asyncpg.connect(postgres_url)
    await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await other.close()
    assert (await on_postgres.fetch(PID))[0]["pid"] != pid


async def test_a_read_that_was_cancelled_leaves_its_connection_to_nobody(on_postgres: PostgresReads) -> None:
    pid = (await on_postgres.fetch(PID))[0]["pid"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await on_postgres.fetch("SELECT pg_sleep(5)")
    assert (await on_postgres.fetch(PID))[0]["pid"] != pid


async def test_a_database_that_is_away_is_the_logs_own_error(empty_sqlite_url: str) -> None:
    database = Database(empty_sqlite_url)
    reads = SqliteReads(database.connect_sqlite, database.verify, most=1)
    with pytest.raises(LogUnavailable):
        await reads.fetch("SELECT 1")
    await reads.close()
