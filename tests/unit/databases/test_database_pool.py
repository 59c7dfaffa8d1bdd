"""The databases that tests use in turn: whatever a test does to one, the next finds it as new."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import asyncpg
import pytest

from app.saga import EventType, NewSaga, SagaEvent
from app.storage import open_storage
from tests.builders import an_id
from tests.database_pool import DatabasePool, shape_of
from tests.postgres import Databases

TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384 ORDER BY 1"
BESIDE_ROWS = (
    "SELECT relname, relkind, relpages, reltuples FROM pg_class WHERE oid >= 16384 ORDER BY 1",
    "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
    "SELECT tablename, attname FROM pg_stats WHERE schemaname = 'public' ORDER BY 1, 2",
    "SELECT mode FROM pg_locks, pg_database WHERE database = pg_database.oid AND pid <> pg_backend_pid()",
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'",
)
CHANGES = {
    "a column": "ALTER TABLE saga ADD COLUMN colour text",
    "a constraint": "ALTER TABLE saga ADD CHECK (epoch > -7)",
    "a default": "ALTER TABLE saga ALTER COLUMN epoch SET DEFAULT 7",
    "a function": "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a table": "CREATE TABLE colour (id int)",
    "a trigger": (
        "CREATE TRIGGER same BEFORE UPDATE ON saga FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "a view": "CREATE VIEW colours AS SELECT id FROM saga",
    "an index": "CREATE INDEX ix_colour ON saga (epoch, status)",
    "an index less": "DROP INDEX ix_saga_due",
    "a sequence's step": "ALTER SEQUENCE outbox_position_seq INCREMENT BY 2",
    "rights": "GRANT SELECT ON saga TO PUBLIC",
    "storage": "ALTER TABLE saga SET (fillfactor = 50)",
    "statistics": "ANALYZE",
    "settings": "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 1024', current_database()); END $$",
    "settings of a role": (
        "DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET work_mem = 1024', current_user, "
        "current_database()); END $$"
    ),
    "a limit of connections": (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 50', current_database()); END $$"
    ),
}


@pytest.fixture(scope="module")
def pool(postgres_databases: Databases, database_pool: DatabasePool) -> Iterator[DatabasePool]:
    """Give a pool of this module's own: the run's has databases that other tests have used."""
    template = f"template_{an_id()[-8:]}"
    postgres_databases.create(template, template=database_pool.template)
    own = DatabasePool(postgres_databases, template)
    yield own
    own.close()
    postgres_databases.drop(template)


async def _content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Return all that a database holds, and what goes on in it."""
    connection = await asyncpg.connect(url)
    rows = [f"SELECT row::text FROM {name} AS row ORDER BY 1" for (name,) in await connection.fetch(TABLES)]  # noqa: S608
    content = {
        asked: [tuple(row) for row in await connection.fetch(asked)] for asked in (*rows, *BESIDE_ROWS)
    }
    await connection.close()
    return content


async def _do(url: str, *statements: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    return connection


async def test_a_database_that_was_used_is_like_a_new_one(pool: DatabasePool) -> None:
    """Its rows, those that were there from the start, its sequences; no lock, transaction or connection is left."""
    used, unused = pool.lend(), pool.lend()
    assert used != unused
    new = await _content(unused)
    async with open_storage(used) as storage:
        saga = NewSaga(id=an_id(), definition="checkout", version=1, input={}, idempotency_key="key")
        started = SagaEvent(seq=1, at=datetime(2026, 1, 1, tzinfo=UTC), type=EventType.SAGA_STARTED)
        await storage.log.renew("me", seconds=60)
        await storage.log.start(saga, started, owner="me")
    left = [
        await _do(used, "SELECT nextval(seqrelid::regclass) FROM pg_sequence", "DELETE FROM alembic_version"),
        await _do(used, "BEGIN", "LOCK TABLE saga IN ACCESS EXCLUSIVE MODE"),
        await _do(used, "SELECT pg_advisory_lock(7)", "LISTEN news"),
    ]
    pool.take_back(used)
    for connection in left:
        connection.terminate()
    assert pool.lend() == used
    assert await _content(used) == new


@pytest.fixture(scope="module")
def spare(pool: DatabasePool) -> str:
    """Give a database in which nothing is committed."""
    return pool.lend()


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES.keys())
async def test_a_change_of_the_schema_or_the_settings_is_seen(
    pool: DatabasePool, spare: str, statement: str
) -> None:
    connection = await asyncpg.connect(spare)
    try:
        assert await shape_of(connection) == pool.blank.shape
        await connection.execute("BEGIN")
        await connection.execute(statement)
        assert await shape_of(connection) != pool.blank.shape
    finally:
        await connection.close()


async def test_the_pools_own_connection_may_be_ended_too(pool: DatabasePool) -> None:
    """As a test does that cuts every connection to its database."""
    cut = pool.lend()
    others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    connection = await _do(cut)
    assert await connection.fetchval(others) == 1
    await connection.close()
    pool.take_back(cut)
    assert pool.lend() == cut


async def test_a_database_that_was_changed_is_not_used_again(pool: DatabasePool) -> None:
    changed = pool.lend()
    await (await _do(changed, CHANGES["a column"])).close()
    pool.take_back(changed)
    assert pool.lend() != changed
