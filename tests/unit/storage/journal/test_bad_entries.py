"""One entry that a real database can't store, or that waits for somebody's lock, holds up no other."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from uuid_utils import uuid7

from app.saga.model.errors import LogRefused, LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange, Stored
from app.storage import Storage, open_storage
from app.storage.engine import postgres_session
from app.storage.engine.faults import Blame, blame_of_sqlite, blame_of_state
from app.storage.journal import journal
from app.storage.journal.sqlite_writer import SqliteWriter

AT = datetime(2026, 11, 28, tzinfo=UTC)
STARTED = SagaEvent(seq=1, at=AT, type=EventType.SAGA_STARTED)
PATIENCE = 60.0


def a_saga(**members: Any) -> NewSaga:
    return NewSaga(**{"id": str(uuid7()), "definition": "one", "version": 1, **members})


async def _beside_others(storage: Storage, bad: NewSaga) -> BaseException:
    """Store one between two others, and return what is said of it."""
    sagas = [a_saga(), bad, a_saga()]
    starts = (storage.log.start(one, STARTED, owner="me") for one in sagas)
    async with asyncio.timeout(PATIENCE):
        before, said, behind = await asyncio.gather(*starts, return_exceptions=True)
        assert (before, behind) == (Stored(), Stored())
        assert not storage.journal.unavailable
        assert await storage.log.start(a_saga(), STARTED, owner="me") == Stored()
    assert isinstance(said, BaseException)
    assert await storage.log.load(bad.id) is None
    return said


async def test_what_is_too_big_for_an_index_fails_alone(postgres_url: str) -> None:
    """SQLSTATE 54000: PostgreSQL takes nothing into an index that is longer than a third of a page."""
    async with open_storage(postgres_url) as storage:
        said = await _beside_others(storage, a_saga(order_id=secrets.token_hex(8_000)))
    assert isinstance(said, LogRefused)


async def test_what_is_too_big_for_sqlite_fails_alone(sqlite_url: str) -> None:
    """SQLITE_TOOBIG."""
    async with open_storage(sqlite_url) as storage:
        writer = storage.journal._writer
        assert isinstance(writer, SqliteWriter)
        assert writer._connection is not None
        writer._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 5_000)
        said = await _beside_others(storage, a_saga(input={"note": "x" * 6_000}))
    assert isinstance(said, LogRefused)


async def test_what_a_trigger_refuses_fails_alone(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody foresaw it: after a few tries it is given up, as nobody can tell more of it."""
    monkeypatch.setattr(journal, "FIRST_PAUSE_SECONDS", 0.001)
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON saga FOR EACH ROW WHEN (NEW.customer_id = 'bad') "
        "EXECUTE FUNCTION refuse()"
    )
    await connection.close()
    async with open_storage(postgres_url) as storage:
        said = await _beside_others(storage, a_saga(customer_id="bad"))
    assert isinstance(said, LogUnavailable)
    assert said.stored is None


async def test_what_this_release_can_not_make_out_leaves_no_transaction_open(
    any_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next batches would be told that they are stored, in a transaction that nobody commits."""

    async def unknown(*_: object) -> None:
        raise ValueError("'waiting' is not a valid SagaStatus")

    monkeypatch.setattr("app.storage.journal.postgres_batch._conflicting_saga", unknown)
    async with open_storage(any_postgres_url) as storage:
        assert await storage.log.start(a_saga(order_id="one"), STARTED, owner="me") == Stored()
        # The bad one comes last in its batch, and what follows is a batch of its own.
        beside, behind = a_saga(), a_saga()
        starts = (beside, a_saga(order_id="one"))
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(
                *(storage.log.start(one, STARTED, owner="me") for one in starts), return_exceptions=True
            )
            assert await storage.log.start(behind, STARTED, owner="me") == Stored()
        for one in (beside, behind):
            assert await storage.log.load(one.id) is not None


async def test_a_row_that_somebody_has_locked_holds_up_its_own_saga_alone(
    any_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's psql with a transaction left open; once it is closed, the saga goes on."""
    monkeypatch.setitem(postgres_session._MODEST, "lock_timeout", "300ms")
    monkeypatch.setattr(journal, "DEFERRED_SECONDS", 0.1)
    psql = await asyncpg.connect(any_postgres_url)
    async with open_storage(any_postgres_url) as storage:
        locked, free = a_saga(), a_saga()
        for one in (locked, free):
            await storage.log.start(one, STARTED, owner="me")
        ended = SagaEvent(seq=2, at=AT, type=EventType.SAGA_COMPLETED)
        done = RowChange(status=SagaStatus.COMPLETED, next_action_at=None, finished_at=AT)
        transaction = psql.transaction()
        await transaction.start()
        await psql.execute("SELECT FROM saga WHERE id = $1 FOR UPDATE", locked.id)
        waiting = asyncio.create_task(storage.log.append(locked.id, epoch=1, events=[ended], change=done))
        async with asyncio.timeout(PATIENCE):
            await storage.log.append(free.id, epoch=1, events=[ended], change=done)
            while storage.journal.queued != 1:  # noqa: ASYNC110 (the journal tells nobody)
                await asyncio.sleep(0.02)
            assert await storage.log.start(a_saga(), STARTED, owner="me") == Stored()
            assert not storage.journal.unavailable
            assert not waiting.done()
            await transaction.rollback()
            await waiting
        stored = await storage.log.load(locked.id)
        assert stored is not None
        assert stored.status is SagaStatus.COMPLETED
    await psql.close()


@pytest.mark.parametrize(
    ("state", "blame"),
    [
        ("54000", Blame.ENTRY),
        ("22021", Blame.ENTRY),
        ("23514", Blame.ENTRY),
        ("40001", Blame.LOCK),
        ("40P01", Blame.LOCK),
        ("55P03", Blame.LOCK),
        ("08006", Blame.MOMENT),
        ("25006", Blame.MOMENT),
        ("53100", Blame.MOMENT),
        ("57P01", Blame.MOMENT),
        ("42P01", Blame.MOMENT),
        ("XX000", Blame.UNKNOWN),
        ("P0001", Blame.UNKNOWN),
        (None, Blame.UNKNOWN),
    ],
)
def test_a_state_tells_whom_it_blames(state: str | None, blame: Blame) -> None:
    assert blame_of_state(state) is blame


def _sqlite_error(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    error = kind("no")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "blame"),
    [
        (_sqlite_error(sqlite3.DataError, sqlite3.SQLITE_TOOBIG), Blame.ENTRY),
        (_sqlite_error(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT_CHECK), Blame.ENTRY),
        (_sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_FULL), Blame.MOMENT),
        (_sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_BUSY_SNAPSHOT), Blame.MOMENT),
        (_sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_FSYNC), Blame.MOMENT),
        (_sqlite_error(sqlite3.InternalError, sqlite3.SQLITE_INTERNAL), Blame.UNKNOWN),
        (OSError("no"), Blame.MOMENT),
        (OverflowError("no"), Blame.ENTRY),
        (MemoryError(), Blame.UNKNOWN),
    ],
)
def test_an_error_of_sqlite_tells_whom_it_blames(error: Exception, blame: Blame) -> None:
    assert blame_of_sqlite(error) is blame
