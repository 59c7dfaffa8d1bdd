"""The outbox: written with the end, never without it, once; read in an order that never goes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
from sqlalchemy import text
from uuid_utils import uuid7

from app.saga.model.errors import SagaFenced
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange
from app.settings.webhook_endpoints import EventName
from app.storage import Storage, open_storage
from app.storage.engine.database import Database
from app.storage.journal.entries import AppendEntry, BatchWriter, Entry, StartEntry
from app.storage.journal.postgres_writer import PostgresWriter
from app.storage.journal.sqlite_writer import SqliteWriter
from app.storage.outbox.feed import FeedCursor

AT = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = {
    SagaStatus.COMPLETED: (EventType.SAGA_COMPLETED, EventName.COMPLETED),
    SagaStatus.COMPENSATED: (EventType.SAGA_COMPENSATED, EventName.COMPENSATED),
    SagaStatus.NEEDS_ATTENTION: (EventType.SAGA_NEEDS_ATTENTION, EventName.NEEDS_ATTENTION),
}


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with open_storage(database_url) as storage:
        yield storage


def a_start(caller: str = "shop") -> StartEntry:
    saga = NewSaga(id=str(uuid7()), definition="one", version=1, caller=caller)
    return StartEntry(saga=saga, event=SagaEvent(seq=1, at=AT, type=EventType.SAGA_STARTED), owner="me")


def an_end(start: StartEntry, status: SagaStatus = SagaStatus.COMPLETED, *, epoch: int = 1) -> AppendEntry:
    last = SagaEvent(seq=3, at=AT, type=ENDS[status][0])
    step = SagaEvent(seq=2, at=AT, type=EventType.STEP_SUCCEEDED, step="payment", attempt=1)
    final = status is not SagaStatus.NEEDS_ATTENTION
    change = RowChange(status=status, next_action_at=None, finished_at=AT if final else None)
    return AppendEntry(saga_id=start.saga.id, epoch=epoch, events=(step, last), change=change)


async def written(storage: Storage, *entries: Entry) -> None:
    for entry in entries:
        if isinstance(entry, StartEntry):
            await storage.log.start(entry.saga, entry.event, owner=entry.owner)
        else:
            await storage.log.append(
                entry.saga_id, epoch=entry.epoch, events=entry.events, change=entry.change
            )


async def told(
    storage: Storage,
    after: FeedCursor = FeedCursor(),  # noqa: B008 (frozen)
    caller: str | None = None,
) -> list[tuple[str, int]]:
    found = await storage.outbox.feed(after, caller=caller, limit=100)
    return [(one.event.saga_id, one.event.seq) for one in found]


@pytest.mark.parametrize("status", list(ENDS))
async def test_the_event_is_stored_with_the_end(storage: Storage, status: SagaStatus) -> None:
    """Each way to rest has its event, with the caller, the time and the number of the trail's last line."""
    start = a_start()
    await written(storage, start)
    assert await told(storage) == []
    await written(storage, an_end(start, status))
    (one,) = await storage.outbox.feed(FeedCursor(), caller=None, limit=10)
    event = one.event
    assert (event.saga_id, event.seq, event.type, event.at) == (start.saga.id, 3, ENDS[status][1], AT)
    assert one.caller == "shop"
    assert event.id == f"evt_{start.saga.id.replace('-', '')}_3"


async def test_a_saga_that_goes_on_or_is_parked_tells_nothing(storage: Storage) -> None:
    """Only an end is an event."""
    start = a_start()
    step = SagaEvent(seq=2, at=AT, type=EventType.STEP_FAILED, step="payment", attempt=1)
    change = RowChange(status=SagaStatus.COMPENSATING, next_action_at=AT, park=True)
    entry = AppendEntry(saga_id=start.saga.id, epoch=1, events=(step,), change=change)
    await written(storage, start, entry)
    assert await told(storage) == []


async def test_an_end_that_was_fenced_off_tells_nothing(storage: Storage) -> None:
    """What was not stored is not told either."""
    start = a_start()
    await written(storage, start)
    with pytest.raises(SagaFenced):
        await written(storage, an_end(start, epoch=2))
    assert await told(storage) == []


async def test_a_batch_that_is_written_again_tells_once(database_url: str) -> None:
    """After a connection that broke in its COMMIT the journal writes the same batch again."""
    database = Database(database_url)
    writer: BatchWriter = (
        PostgresWriter(database.connect_postgres)
        if database.is_postgres
        else SqliteWriter(database.connect_sqlite)
    )
    start = a_start()
    await writer.open()
    await writer.write([start])
    first = await writer.write([an_end(start)])
    again = await writer.write([an_end(start), a_start()])
    await writer.close()
    assert first == again[:1]
    async with open_storage(database_url) as storage:
        assert await told(storage) == [(start.saga.id, 3)]


async def test_no_event_without_its_end(storage: Storage) -> None:
    """Where the event can't be stored, the end isn't either: they are one transaction."""
    start = a_start()
    await written(storage, start)
    async with storage.log.writing() as connection:
        await connection.execute(text("ALTER TABLE outbox RENAME TO away"))
    appending = asyncio.create_task(written(storage, an_end(start)))
    done, _ = await asyncio.wait({appending}, timeout=0.3)
    stored = await storage.log.load(start.saga.id)
    assert not done
    assert stored is not None
    assert len(stored.events) == 1
    async with storage.log.writing() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO outbox"))
    await appending
    assert await told(storage) == [(start.saga.id, 3)]


async def test_the_feed_goes_on_behind_a_place_and_keeps_callers_apart(storage: Storage) -> None:
    """Page by page everything once, in order; a caller sees its own alone."""
    starts = [a_start(caller) for caller in ("a", "b", "a", "b", "a")]
    for start in starts:
        await written(storage, start, an_end(start))
    seen: list[str] = []
    place = FeedCursor()
    while page := await storage.outbox.feed(place, caller=None, limit=2):
        seen += [one.event.saga_id for one in page]
        place = page[-1].cursor
    assert seen == [start.saga.id for start in starts]
    assert await told(storage, caller="a") == [(starts[n].saga.id, 3) for n in (0, 2, 4)]
    assert await told(storage, caller="nobody") == []


async def test_nothing_appears_before_a_cursor_that_was_handed_out(postgres_url: str) -> None:
    """An older transaction is still open: what is newer waits for it, and then both come in order."""
    slow = await asyncpg.connect(postgres_url)
    async with open_storage(postgres_url) as storage:
        before, held, late = a_start(), a_start(), a_start()
        await written(storage, before, an_end(before))
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(
            "INSERT INTO outbox (saga_id, seq, type, caller, at) VALUES ($1, 3, $2, '', $3)",
            held.saga.id,
            EventName.COMPLETED.value,
            AT,
        )
        await written(storage, late, an_end(late))
        first = await storage.outbox.feed(FeedCursor(), caller=None, limit=10)
        assert [one.event.saga_id for one in first] == [before.saga.id]
        await transaction.commit()
        following = await told(storage, first[-1].cursor)
        assert following == [(held.saga.id, 3), (late.saga.id, 3)]
    await slow.close()
