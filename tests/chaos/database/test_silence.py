"""PostgreSQL's connections go silent, or stand still holding locks: nobody waits for them for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from sqlalchemy import text
from uuid_utils import uuid7

from app.saga.model.errors import LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange, Stored
from app.storage import open_storage
from app.storage.engine import postgres_session
from app.storage.engine.database import Database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = SagaEvent(seq=1, at=NOW, type=EventType.SAGA_STARTED)
DONE = RowChange(status=SagaStatus.COMPLETED, next_action_at=None, finished_at=NOW)
LAST = [
    SagaEvent(seq=2, at=NOW, type=EventType.STEP_SUCCEEDED, step="one", attempt=1),
    SagaEvent(seq=3, at=NOW, type=EventType.SAGA_COMPLETED),
]
WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'
"""
PATIENCE = 30.0


@dataclass
class _Line:
    """A proxy in front of a database. Connections made before `hush` carry nothing any more after it."""

    url: str
    quiet: list[asyncio.Event] = field(default_factory=list)

    def hush(self) -> None:
        for connection in self.quiet:
            connection.set()


async def _carry(source: asyncio.StreamReader, to: asyncio.StreamWriter, quiet: asyncio.Event) -> None:
    try:
        while data := await source.read(65536):
            if quiet.is_set():
                await asyncio.Event().wait()  # the bytes are gone, and nobody says so
            to.write(data)
            await to.drain()
    finally:
        to.transport.abort()


@asynccontextmanager
async def _a_line_to(url: str) -> AsyncIterator[_Line]:
    parts = urlsplit(url)
    line = _Line(url)
    carrying: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        quiet = asyncio.Event()
        line.quiet.append(quiet)
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        for one in (_carry(reader, back, quiet), _carry(there, writer, quiet)):
            carrying.add(asyncio.create_task(one))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    line.url = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port}"))
    try:
        yield line
    finally:
        server.close()
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted closes in the loop's next turn


def _a_saga() -> NewSaga:
    return NewSaga(id=str(uuid7()), definition="one", version=1)


async def test_the_journal_leaves_a_connection_that_went_silent(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was writing is written on the next connection, once."""
    monkeypatch.setattr("app.storage.journal.postgres_writer.ANSWER_SECONDS", 0.3)
    async with _a_line_to(postgres_url) as line, open_storage(line.url) as storage:
        saga = _a_saga()
        assert await storage.log.start(saga, STARTED, owner="me") == Stored()
        line.hush()
        async with asyncio.timeout(PATIENCE):
            await storage.log.append(saga.id, epoch=1, events=LAST, change=DONE)
        stored = await storage.log.load(saga.id)
        assert stored is not None
        assert [event.seq for event in stored.events] == [1, 2, 3]


async def test_a_renewal_leaves_a_connection_that_went_silent(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it doesn't know, and the next one goes through while the lease still holds."""
    monkeypatch.setattr("app.storage.storage.LEASE_COMMAND_SECONDS", 0.3)
    async with _a_line_to(postgres_url) as line, open_storage(line.url) as storage:
        await storage.log.renew("me", seconds=60)
        line.hush()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(LogUnavailable):
                await storage.log.renew("me", seconds=60)
            await storage.log.renew("me", seconds=60)


async def test_a_client_that_hangs_in_a_transaction_loses_its_locks(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that is stopped within a claim (SIGSTOP) must not hold up another's journal."""
    monkeypatch.setitem(postgres_session._MODEST, "idle_in_transaction_session_timeout", "300ms")
    monkeypatch.setattr("app.storage.journal.postgres_writer.ANSWER_SECONDS", 2 * PATIENCE)
    async with open_storage(postgres_url) as storage:
        saga = _a_saga()
        await storage.log.start(saga, STARTED, owner="me")
        async with storage.engine.connect() as frozen:
            await frozen.execute(text("SELECT id FROM saga FOR UPDATE"))
            async with asyncio.timeout(PATIENCE):
                await storage.log.append(saga.id, epoch=1, events=LAST, change=DONE)
            await frozen.invalidate()


async def test_a_statement_that_was_given_up_never_lands_later(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backend is ended before the batch is written again, so that only the last answer counts."""
    monkeypatch.setattr("app.storage.journal.postgres_writer.ANSWER_SECONDS", 0.3)
    other, looking = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
    async with open_storage(postgres_url) as storage, asyncio.timeout(PATIENCE):
        saga = _a_saga()
        await storage.log.start(saga, STARTED, owner="me")
        blocking = other.transaction()
        await blocking.start()
        await other.execute("SELECT id FROM saga FOR UPDATE")
        appending = asyncio.create_task(storage.log.append(saga.id, epoch=1, events=LAST, change=DONE))
        tries: set[int] = set()
        while len(tries) < 3:
            waiting = {row["pid"] for row in await looking.fetch(WAITING)}
            assert len(waiting) <= 1, "an earlier try still waits for its turn"
            tries |= waiting
        await blocking.rollback()
        await appending
    await other.close()
    await looking.close()


async def test_no_statement_is_cut_short_in_its_commit(postgres_url: str) -> None:
    """A statement_timeout would end a COMMIT's wait for a synchronous standby, and call it committed."""
    database = Database(postgres_url)
    for patient, wanted in ((False, ("0", "4s", "3s")), (True, ("0", "0", "0"))):
        connection = await database.connect_postgres(patient=patient)
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        assert tuple([await connection.fetchval(f"SHOW {name}") for name in names]) == wanted
        await connection.close()
