"""Fills a database with sagas: finished ones of the past, a dead owner's, and ones that wait in back-off.

All are copies, made within PostgreSQL, of two that the real service ran: one completed, one compensated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg
from pydantic import SecretStr

from app.bootstrap.service import open_service
from app.settings.settings import Settings
from app.storage.engine.tables import saga, saga_log
from tests.processes import ADDRESS, an_order

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_QUICKLY = "SET synchronous_commit = off; SET maintenance_work_mem = '1GB'; SET jit = off"
TABLES = ("saga", "saga_log", "outbox")
EMPTY = ("ix_saga_due", "ix_saga_needs_attention", "ix_saga_cancel")
"""The indexes in which no finished saga is: to keep them costs a filling nothing."""

CHUNK = 250_000
COMPENSATED_SHARE = 20
"""One in so many was compensated."""

SAGAS_OF_A_CUSTOMER = 20
OUTBOX = ["saga_id", "seq", "type", "caller", "at"]
"""Its columns that the writer gives; the others make themselves."""

PAST = "60 days"
DEAD = "dead-replica"
UNFINISHED, WAITING = "cus-unfinished", "cus-waiting"
"""The customers of the sagas that aren't finished, by whom they are found again."""

_ID = """(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
      || '8' || substr(md5(n::text), 5, 15))::uuid"""
"""A UUIDv7 that follows from the number and the time, so that each statement makes the same ones."""

_SOURCES = """
CREATE SCHEMA bench;
CREATE TABLE bench.saga AS SELECT *, status = 'compensated' AS undone FROM saga;
CREATE TABLE bench.log AS
    SELECT l.*, s.undone, l.at - s.created_at AS later FROM saga_log l JOIN bench.saga s ON s.id = l.saga_id;
CREATE TABLE bench.outbox AS
    SELECT o.*, s.undone, o.at - s.created_at AS later FROM outbox o JOIN bench.saga s ON s.id = o.saga_id;
TRUNCATE saga, saga_log, outbox, replica RESTART IDENTITY;
VACUUM ANALYZE;
"""
"""What is copied stands beside the service's own tables, which stay as they were migrated."""

_CONSTRAINTS = """
SELECT conrelid::regclass::text AS of, conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE contype = 'p' AND conrelid::regclass::text = ANY($1::text[]) ORDER BY 1, 2
"""
_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
WHERE indrelid::regclass::text = ANY($1::text[])
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = indexrelid) ORDER BY 1
"""
_OPTIONS = "SELECT oid::regclass::text, reloptions FROM pg_class WHERE oid::regclass::text = ANY($1::text[]) ORDER BY 1"
_CASTS = re.compile(r"::(character varying|text)(\[\])?|[()]")
_SIZES = """
SELECT relname, pg_table_size(oid), pg_indexes_size(oid), pg_total_relation_size(oid), reltuples::bigint
FROM pg_class WHERE oid::regclass::text = ANY($1::text[]) ORDER BY array_position($1::text[], relname::text)
"""


@dataclass(frozen=True, kw_only=True)
class TableSize:
    """What a table takes on the disk, in bytes; `data` is with its TOAST and maps."""

    table: str
    rows: int
    data: int
    indexes: int
    total: int


async def run_sources(url: str) -> None:
    """Have the real service run the two sagas that are copied, and set them aside: copies of this database have them."""
    settings = Settings(database_url=SecretStr(url), sandbox_database=":memory:", keep_data_days=0)
    async with open_service(settings) as service:
        for number, country in enumerate(("FR", "XX")):
            order: dict[str, Any] = {
                **an_order(f"source-{number}", shipping_address={**ADDRESS, "country": country}),
                "amount": 3998,
                "metadata": {},
            }
            started = await service.starter.start(
                order,
                idempotency_key=f"source-{number}",
                fingerprint="0" * 64,
                request_id="0193b3c8-0000-7000-8000-000000000001",
            )
            view = await service.reader.wait(started.saga_id, seconds=30)
            assert view is not None
            assert view.inactive
    connection = await asyncpg.connect(url)
    try:
        for statement in filter(str.strip, _SOURCES.split(";")):
            await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def filling(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to a copy of the sources' database to fill it; leave it as one that has rested for a while."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_QUICKLY)
        yield connection
        await connection.execute("VACUUM ANALYZE saga, saga_log, outbox")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


@asynccontextmanager
async def without_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Take the tables' indexes away and leave them to be filled; then have everything as it was."""
    before = await _shape(connection)
    constraints = await connection.fetch(_CONSTRAINTS, TABLES)
    indexes = [one for one in await connection.fetch(_INDEXES, TABLES) if one["name"] not in EMPTY]
    for one in constraints:
        await connection.execute(f"ALTER TABLE {one['of']} DROP CONSTRAINT {one['name']}")
    for one in indexes:
        await connection.execute(f"DROP INDEX {one['name']}")
    for table in TABLES:
        await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    yield
    for table in TABLES:
        await connection.execute(f"ALTER TABLE {table} RESET (autovacuum_enabled)")
    for one in constraints:
        await connection.execute(f"ALTER TABLE {one['of']} ADD CONSTRAINT {one['name']} {one['definition']}")
    for one in indexes:
        await connection.execute(one["definition"])
    after = await _shape(connection)
    assert after == before, f"the schema isn't the migration's any more: {set(after) ^ set(before)}"


async def _shape(connection: asyncpg.Connection) -> list[tuple[object, ...]]:
    found = [await connection.fetch(sql, TABLES) for sql in (_CONSTRAINTS, _INDEXES, _OPTIONS)]
    return [tuple(map(_plain, row)) for rows in found for row in rows]


def _plain(told: object) -> object:
    """Return a definition without its casts: read and written again it has others."""
    return _CASTS.sub("", told) if isinstance(told, str) else told


def chunks(count: int, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Yield the first and last numbers, from 1, of the parts in which so many are filled."""
    for first in range(1, count + 1, size):
        yield first, min(first + size - 1, count)


async def add_finished(connection: asyncpg.Connection, first: int, last: int, count: int) -> None:
    """Add the finished sagas of these numbers out of `count`, which began evenly over the past, in their order."""
    new = f"""
        (SELECT n, at, {_ID} AS id, n % {COMPENSATED_SHARE} = 0 AS undone FROM (
           SELECT n, date_trunc('hour', now()) - interval '1 hour' - interval '{PAST}' * (1 - n::float8 / {count}) AS at
           FROM generate_series({first}, {last}) AS n) AS numbered OFFSET 0) AS new"""
    values = {
        "id": "new.id",
        "order_id": "'ord-' || n",
        "customer_id": f"'cus-' || n % {count // SAGAS_OF_A_CUSTOMER + 1}",
        "idempotency_key": "'key-' || md5(n::text)",
        **{
            name: f"new.at + (s.{name} - s.created_at)"
            for name in ("created_at", "updated_at", "finished_at")
        },
    }
    later = {"saga_id": "new.id", "at": "new.at + s.later"}
    async with connection.transaction():
        for table, source, given in (
            ("saga", _insert(saga.c.keys(), values), "bench.saga"),
            ("saga_log", _insert(saga_log.c.keys(), later), "bench.log"),
            (
                "outbox",
                _insert(OUTBOX, later),
                "bench.outbox",
            ),
        ):
            await connection.execute(f"INSERT INTO {table} {source} FROM {new} JOIN {given} s USING (undone)")


async def add_unfinished(connection: asyncpg.Connection, count: int) -> None:
    """Add so many unfinished sagas of an owner whose lease has ended: some at each step, some on their way back."""
    await connection.execute(
        """INSERT INTO replica (id, lease_expires_at, renewed_at)
           VALUES ($1, now() - interval '1 minute', now() - interval '2 minutes') ON CONFLICT DO NOTHING""",
        DEAD,
    )
    values = {
        "id": "new.id",
        "status": "CASE WHEN new.undone THEN 'compensating' ELSE 'running' END",
        "order_id": "'unfinished-' || n",
        "customer_id": f"'{UNFINISHED}'",
        "idempotency_key": "'unfinished-' || n",
        "created_at": "new.at",
        "updated_at": "new.at",
        "finished_at": "NULL::timestamptz",
        "next_action_at": "new.at",
        "owner": f"'{DEAD}'",
    }
    later = {"saga_id": "new.id", "at": "new.at"}
    async with connection.transaction():
        new = f"""
            (SELECT n, at, {_ID} AS id, n % 4 = 0 AS undone, CASE n % 4 WHEN 0 THEN 4 ELSE n % 4 END AS events
             FROM (SELECT n, now() AS at FROM generate_series(1, {count}) AS n) AS numbered OFFSET 0) AS new"""
        await connection.execute(
            f"INSERT INTO saga {_insert(saga.c.keys(), values)} FROM {new} JOIN bench.saga s USING (undone)"
        )
        await connection.execute(
            f"INSERT INTO saga_log {_insert(saga_log.c.keys(), later)} "
            f"FROM {new} JOIN bench.log s USING (undone) WHERE s.seq <= new.events"
        )


async def add_waiting(connection: asyncpg.Connection, count: int) -> None:
    """Add so many parked sagas: the first step's service was unavailable, and is asked again in an hour."""
    values = {
        "id": "new.id",
        "status": "'running'",
        "order_id": "'waiting-' || n",
        "customer_id": f"'{WAITING}'",
        "idempotency_key": "'waiting-' || n",
        "created_at": "new.at",
        "updated_at": "new.at",
        "finished_at": "NULL::timestamptz",
        "next_action_at": "new.at + interval '1 hour'",
        "owner": "NULL",
    }
    started = {"saga_id": "new.id", "at": "new.at"}
    retried = {
        **started,
        "seq": "2",
        "event": "'step_retried'",
        "step": "'payment'",
        "attempt": "1",
        "data": """json_build_object('error', json_build_object('code', 'unavailable', 'message', 'Busy.',
            'kind', 'unavailable'), 'outcome', 'unavailable', 'duration_ms', 1.5, 'next_action_at',
            to_char((new.at + interval '1 hour') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))""",
    }
    async with connection.transaction():
        new = f"""
            (SELECT n, at, {_ID} AS id FROM (SELECT n, now() AS at FROM generate_series(1, {count}) AS n) AS numbered
             OFFSET 0) AS new"""
        await connection.execute(
            f"INSERT INTO saga {_insert(saga.c.keys(), values)} FROM {new} JOIN bench.saga s ON NOT s.undone"
        )
        for event in (started, retried):
            await connection.execute(
                f"INSERT INTO saga_log {_insert(saga_log.c.keys(), event)} "
                f"FROM {new} JOIN bench.log s ON NOT s.undone AND s.seq = 1"
            )


def _insert(columns: list[str], values: dict[str, str]) -> str:
    """Return an INSERT's columns and SELECT list: the values given, and the source's own otherwise."""
    return f"({', '.join(columns)}) SELECT {', '.join(values.get(name, f's.{name}') for name in columns)}"


async def sizes(connection: asyncpg.Connection) -> list[TableSize]:
    """Return what the tables take on the disk."""
    rows = await connection.fetch(_SIZES, TABLES)
    return [
        TableSize(table=row[0], data=row[1], indexes=row[2], total=row[3], rows=max(0, row[4]))
        for row in rows
    ]


async def ends(connection: asyncpg.Connection, customer: str) -> dict[str, int]:
    """Return how many of a customer's sagas stand how."""
    rows = await connection.fetch(
        "SELECT status, count(*) FROM saga WHERE customer_id = $1 GROUP BY 1", customer
    )
    return {row[0]: row[1] for row in rows}


async def nth(connection: asyncpg.Connection, number: int) -> tuple[str, datetime]:
    """Return the id of the finished saga of a number, and when it began."""
    row = await connection.fetchrow(
        "SELECT id::text, created_at FROM saga WHERE caller = '' AND order_id = $1", f"ord-{number}"
    )
    return row[0], row[1]
