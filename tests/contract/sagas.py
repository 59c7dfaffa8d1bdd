"""Sagas, events and changes of rows for the contract of a saga log: valid by default."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from uuid_utils import uuid7

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange, SagaLog, Stored, StoredSaga

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

LATER = timedelta(hours=1)

ONE = [("one", 1)]


def a_saga(**members: Any) -> NewSaga:
    """Return a new saga that is valid unless told otherwise."""
    return NewSaga(**{"id": str(uuid7()), "definition": "one", "version": 1, **members})


def started(at: datetime = AT) -> SagaEvent:
    return SagaEvent(seq=1, at=at, type=EventType.SAGA_STARTED)


def succeeded(seq: int, **data: Any) -> SagaEvent:
    return SagaEvent(seq=seq, at=AT, type=EventType.STEP_SUCCEEDED, step=f"step-{seq}", attempt=1, data=data)


def ended(seq: int, how: EventType = EventType.SAGA_COMPLETED) -> SagaEvent:
    return SagaEvent(seq=seq, at=AT, type=how)


def change(status: SagaStatus, *, due: datetime | None = None, park: bool = False) -> RowChange:
    final = status in {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}
    return RowChange(status=status, next_action_at=due, finished_at=AT if final else None, park=park)


COMPLETED = change(SagaStatus.COMPLETED)


async def begun(log: SagaLog, *, owner: str = "me", **members: Any) -> NewSaga:
    saga = a_saga(**members)
    assert await log.start(saga, started(), owner=owner) == Stored()
    return saga


async def loaded(log: SagaLog, saga: NewSaga) -> StoredSaga:
    stored = await log.load(saga.id)
    assert stored is not None
    return stored


async def claimed(log: SagaLog, *, owner: str = "other", limit: int = 100) -> list[StoredSaga]:
    return await log.claim(owner=owner, definitions=ONE, limit=limit)


def types(stored: StoredSaga) -> list[EventType]:
    return [event.type for event in stored.events]
