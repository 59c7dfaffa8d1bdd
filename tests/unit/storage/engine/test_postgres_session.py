"""What a session of PostgreSQL has to be like is set, or looked at and refused in a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import text
from uuid_utils import uuid7

from app.saga.model.errors import LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.ports.log import NewSaga, Stored
from app.storage import open_storage
from app.storage.engine import postgres_session
from app.storage.engine.database import Database, UnsafeDatabase
from app.storage.engine.postgres_session import NoCancelConnection, beginning, prepare_session
from app.storage.journal.entries import CommitUnknown, StartEntry
from app.storage.journal.postgres_writer import PostgresWriter
from tests.pgbouncer import DATABASES
from tests.postgres import Databases

AT = datetime(2026, 11, 28, tzinfo=UTC)
HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "30s",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "standard_conforming_strings": "off",
    "timezone": "Asia/Kathmandu",
    "jit": "on",
    "client_encoding": "LATIN1",
}
WANTED = {
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "4s",
    "idle_in_transaction_session_timeout": "3s",
    "standard_conforming_strings": "on",
    "timezone": "UTC",
    "jit": "off",
    "client_encoding": "UTF8",
}


def a_start() -> StartEntry:
    event = SagaEvent(seq=1, at=AT, type=EventType.SAGA_STARTED)
    return StartEntry(
        saga=NewSaga(id=str(uuid7()), definition="one", version=1, order_id="ord-1"), event=event, owner="me"
    )


async def _set_on_database(url: str, settings: dict[str, str]) -> None:
    connection = await asyncpg.connect(url)
    for name, value in settings.items():
        await connection.execute(f"ALTER DATABASE \"{urlsplit(url).path[1:]}\" SET {name} = '{value}'")
    await connection.close()


async def test_whatever_the_database_says_a_session_is_as_the_service_needs_it(postgres_url: str) -> None:
    """`ALTER DATABASE … SET` and `ALTER ROLE … SET` make no difference to what is relied on."""
    await _set_on_database(postgres_url, HOSTILE)
    link = await Database(postgres_url).connect_postgres()
    try:
        assert {name: await link.fetchval(f"SHOW {name}") for name in WANTED} == WANTED
    finally:
        await link.close()
    async with open_storage(postgres_url) as storage, storage.log.writing() as connection:
        found = (await connection.execute(text("SHOW transaction_isolation"))).scalar_one()
        assert found == "read committed"


async def test_a_database_that_cannot_hold_every_name_is_refused(postgres_databases: Databases) -> None:
    """In one sentence that says how to make another."""
    name = f"{postgres_databases.prefix}_latin1"
    create = f"CREATE DATABASE \"{name}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    postgres_databases._say(create)
    try:
        with pytest.raises(UnsafeDatabase, match=r"encoding is LATIN1.*ENCODING 'UTF8'"):
            await Database(postgres_databases.url("latin1")).connect_postgres()
    finally:
        postgres_databases.drop("latin1")


async def test_a_journal_that_has_written_nothing_yet_locks_no_table(postgres_url: str) -> None:
    """Else a migration would wait for the first checkout."""
    async with open_storage(postgres_url):
        connection = await asyncpg.connect(postgres_url)
        locked = await connection.fetch(
            "SELECT relation::regclass::text FROM pg_locks WHERE relation = ANY($1::regclass[])",
            ["saga", "saga_log", "outbox"],
        )
        await connection.close()
        assert locked == []


async def test_a_transaction_that_could_not_be_serialized_is_done_again(postgres_url: str) -> None:
    """As PostgreSQL says to; nobody hears of it."""
    async with open_storage(postgres_url) as storage:
        await storage.log.renew("me", seconds=10)
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(
            "CREATE SEQUENCE tries; CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF nextval('tries') < 3 THEN RAISE SQLSTATE '40001'; END IF; RETURN NEW; END $$; "
            "CREATE TRIGGER fail_twice BEFORE UPDATE ON replica FOR EACH ROW EXECUTE FUNCTION fail_twice(); "
            "CREATE TRIGGER fail_twice BEFORE INSERT ON saga FOR EACH ROW EXECUTE FUNCTION fail_twice()"
        )
        await storage.log.renew("me", seconds=10)
        await connection.execute("ALTER SEQUENCE tries RESTART")
        start = a_start()
        assert await storage.log.start(start.saga, start.event, owner="me") == Stored()
        assert not storage.journal.unavailable
        await connection.close()


async def test_a_postgresql_that_came_back_forgetful_is_away_for_everybody(postgres_url: str) -> None:
    """Reads, leases and the journal say `LogUnavailable` and why; nothing else is raised."""
    async with open_storage(postgres_url) as storage:
        await _set_on_database(postgres_url, {"synchronous_commit": "off"})
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await connection.close()
        with pytest.raises(LogUnavailable, match="synchronous_commit off"):
            await storage.log.load(str(uuid7()))
        with pytest.raises(LogUnavailable, match="synchronous_commit off"):
            await storage.log.renew("me", seconds=10)


# ── through a pooler ──────────────────────────────────────────────────────────────────────────────


class _Pooler:
    """Stands in for a connection through a pooler: the process that serves isn't the one that was announced."""

    pooled = False
    patient = False

    def __init__(self, **found: str) -> None:
        self.said: list[str] = []
        self._found = {
            "pid": 7,
            "encoding": "UTF8",
            "spoken": "UTF8",
            "synchronous_commit": "on",
            "isolation": "read committed",
            **found,
        }

    def get_server_pid(self) -> int:
        return 1234

    def get_server_version(self) -> tuple[int, ...]:
        return (18, 4)

    async def fetchrow(self, _query: str, **_options: Any) -> dict[str, Any]:
        return self._found

    async def execute(self, query: str) -> None:
        self.said.append(query)


async def test_through_a_pooler_nothing_is_set_for_a_session() -> None:
    """It would be another client's; what is needed is set in each transaction."""
    link: Any = _Pooler()
    await prepare_session(link, patient=False, seconds=1)
    assert link.pooled
    assert link.said == []
    assert "SET LOCAL lock_timeout = '4s'" in beginning(link)
    assert "SET LOCAL statement_timeout = '0'" in beginning(link)


async def test_through_a_pooler_another_isolation_is_refused() -> None:
    """No session can change it there for those that only read."""
    link: Any = _Pooler(isolation="serializable")
    with pytest.raises(UnsafeDatabase, match="behind a pooler no session can change that"):
        await prepare_session(link, patient=False, seconds=1)


async def test_a_pooler_without_prepared_statements_is_told_by_name() -> None:
    link: Any = _Pooler()

    async def gone(_query: str, **_options: Any) -> None:
        raise asyncpg.InvalidSQLStatementNameError("prepared statement does not exist")

    link.fetchrow = gone
    with pytest.raises(UnsafeDatabase, match=r"PgBouncer does from 1\.21 on"):
        await prepare_session(link, patient=False, seconds=1)


async def test_a_statement_that_a_pooler_forgot_is_told_by_name(postgres_url: str) -> None:
    """By whoever meets it first; here as if another connection had come in the place of the journal's."""
    writer = PostgresWriter(Database(postgres_url).connect_postgres)
    await writer.open()
    assert writer._connection is not None
    await writer._connection.execute("DEALLOCATE ALL")
    with pytest.raises(CommitUnknown, match=r"PgBouncer does from 1\.21 on"):
        await writer.write([a_start()])
    assert await writer.write([a_start()]) == [Stored()]
    await writer.close()


async def test_a_direct_connection_is_known_for_one(postgres_url: str) -> None:
    link = await Database(postgres_url).connect_postgres()
    assert link.pooled is False
    await link.close()


@asynccontextmanager
async def _as_if_pooled(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """Have a direct connection taken for a pooler's, so that its way of writing is tested without one too."""
    monkeypatch.setattr(NoCancelConnection, "get_server_pid", lambda _self: 0)
    yield Database(url)


@pytest.mark.parametrize("database", DATABASES[1:])
async def test_a_statement_that_was_given_up_behind_a_pooler_never_lands(
    database: str, request: pytest.FixtureRequest, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is ended by a pid that may be somebody else's: its COMMIT is never sent."""
    monkeypatch.setattr("app.storage.journal.postgres_writer.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("app.storage.journal.postgres_writer.CONNECT_SECONDS", 5.0)
    monkeypatch.setitem(postgres_session._MODEST, "lock_timeout", "30s")
    url = postgres_url if database == "postgresql" else str(request.getfixturevalue("pooled_url"))
    psql = await asyncpg.connect(postgres_url)
    async with _as_if_pooled(url, monkeypatch) as behind:
        writer = PostgresWriter(behind.connect_postgres)
        await writer.open()
        transaction = psql.transaction()
        await transaction.start()
        await psql.execute("LOCK TABLE saga IN SHARE MODE")
        start = a_start()
        with pytest.raises(CommitUnknown, match="no answer"):
            await writer.write([start])
        assert writer._stale_backends == []
        await transaction.rollback()
        async with asyncio.timeout(60):
            while await psql.fetchval(  # noqa: ASYNC110 (another process's)
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' "
                "AND pid <> pg_backend_pid()"
            ):
                await asyncio.sleep(0.02)
        assert await psql.fetchval("SELECT count(*) FROM saga") == 0
        assert await writer.write([start]) == [Stored()]
        assert await psql.fetchval("SELECT count(*) FROM saga") == 1
        await writer.close()
    await psql.close()
