"""The count of unfinished sagas, on either database."""

from __future__ import annotations

from datetime import timedelta

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange
from app.storage import Storage, open_storage
from tests.builders import NOON, an_id


async def a_saga(storage: Storage, owner: str, status: SagaStatus | None = None) -> None:
    """Store a saga that began at NOON, years before the database's clock or long ago."""
    saga_id = an_id()
    begun = SagaEvent(seq=1, at=NOON, type=EventType.SAGA_STARTED)
    await storage.log.start(NewSaga(id=saga_id, definition="one", version=1), begun, owner=owner)
    if status is not None:
        change = RowChange(status=status, next_action_at=None)
        event = SagaEvent(seq=2, at=NOON, type=EventType.SAGA_NEEDS_ATTENTION)
        await storage.log.append(saga_id, epoch=1, events=[event], change=change)


async def test_the_living_ones_are_not_overdue(database_url: str) -> None:
    """What a living replica runs is in time; what nobody has is overdue since it was due."""
    async with open_storage(database_url) as storage:
        empty = await storage.queries.backlog_stats()
        now = await storage.log.renew("alive", seconds=60)
        await a_saga(storage, "alive")
        await a_saga(storage, "alive", SagaStatus.NEEDS_ATTENTION)
        well = await storage.queries.backlog_stats()
        await a_saga(storage, "dead")
        late = await storage.queries.backlog_stats()
    assert dict(empty.unfinished) == {"running": 0, "compensating": 0, "needs_attention": 0}
    assert dict(well.unfinished) == {"running": 1, "compensating": 0, "needs_attention": 1}
    assert (empty.oldest_due_age_seconds, well.oldest_due_age_seconds) == (0, 0)
    assert late.unfinished["running"] == 2
    assert late.oldest_due_age_seconds >= (now - NOON).total_seconds()
    assert late.unscheduled == 0


async def test_deferred_sagas_are_counted(database_url: str) -> None:
    """A saga that a replica owned and could not understand is neither overdue nor in good hands."""
    async with open_storage(database_url) as storage:
        now = await storage.log.renew("alive", seconds=60)
        saga_id = an_id()
        begun = SagaEvent(seq=1, at=NOON, type=EventType.SAGA_STARTED)
        await storage.log.start(NewSaga(id=saga_id, definition="one", version=1), begun, owner="alive")
        well = await storage.queries.backlog_stats()
        await storage.log.abandon(saga_id, epoch=1, until=now + timedelta(hours=1))
        deferred = await storage.queries.backlog_stats()
    assert (well.deferred, deferred.deferred) == (0, 1)
    assert deferred.oldest_due_age_seconds == 0
