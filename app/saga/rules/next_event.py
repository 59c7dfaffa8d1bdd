"""The next event of a saga: numbered, and never earlier than the one before it."""

from __future__ import annotations

from datetime import datetime

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import SagaState
from app.saga.model.step import JSON


def next_event(
    state: SagaState,
    now: datetime,
    event: EventType,
    *,
    step: str | None = None,
    attempt: int | None = None,
    **data: JSON,
) -> SagaEvent:
    """Return the event that follows `state`."""
    before = state.updated_at
    at = now if before is None or now > before else before
    return SagaEvent(seq=state.seq + 1, at=at, type=event, step=step, attempt=attempt, data=data)


def operator_event(
    state: SagaState, event: EventType, action: OperatorAction, now: datetime, *, step: str | None = None
) -> SagaEvent:
    """Return the event that records an operator's action."""
    return next_event(state, now, event, step=step, **action.data())


def cancellation_event(state: SagaState, request: OperatorAction, now: datetime) -> SagaEvent | None:
    """Return the event that cancels a saga; None if it can't be cancelled any more."""
    if not state.cancellable:
        return None
    return operator_event(state, EventType.CANCEL_REQUESTED, request, now)
