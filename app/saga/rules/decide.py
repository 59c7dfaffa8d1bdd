"""What to do next: a pure function of the definition, the state and the time.

The orchestrator calls `decide`, acts, and appends the event that `answers` makes of the answer.
A first run, a recovery and an operator's retry all decide here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from app.saga.model.definition import SagaDefinition
from app.saga.model.errors import FailureKind
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.state import CompensationState, SagaState
from app.saga.model.status import INACTIVE, SagaStatus, StepStatus
from app.saga.model.step import JSON
from app.saga.rules.decisions import Compensate, Decision, Execute, Inactive, LookUp, Record, Wait
from app.saga.rules.next_event import next_event

POISON_AFTER = 5
"""After so many deaths of its owners without any progress, a saga is parked for an operator."""

_RUNNING, _STEP_RUNNING, _INACTIVE = SagaStatus.RUNNING, StepStatus.RUNNING, Inactive()


def decide(definition: SagaDefinition, state: SagaState, now: datetime) -> Decision:
    """Return what is due at `now`."""
    if state.status in INACTIVE:
        return _INACTIVE
    if state.recoveries >= POISON_AFTER:
        return Record(event=_poisoned(state, now))
    if state.status is _RUNNING:
        return _forward(definition, state, now)
    return _backward(definition, state, now)


def _forward(definition: SagaDefinition, state: SagaState, now: datetime) -> Decision:
    step = state.current
    if step is None:
        return Record(event=next_event(state, now, EventType.SAGA_COMPLETED))
    if step.status is not _STEP_RUNNING:
        return Record(event=_park_for_operator(state, now))
    deadline = _deadline(definition, state, now)
    if state.cancelled_by is not None or (deadline is not None and now >= deadline):
        return Record(
            event=next_event(
                state,
                now,
                EventType.STEP_UNKNOWN if step.outcome_unknown else EventType.STEP_FAILED,
                step=step.name,
                attempt=step.attempts,
                error=_DEADLINE if state.cancelled_by is None else _CANCELLED,
            )
        )
    if step.retry_at is not None and now < step.retry_at:
        return Wait(until=step.retry_at if deadline is None else min(step.retry_at, deadline))
    defined, attempt = definition.by_name[step.name], step.attempts + 1
    if _key_expired(definition, step.started_at, now):
        return LookUp(step=defined, attempt=attempt, compensating=False, deadline=deadline)
    return Execute(step=defined, attempt=attempt, deadline=deadline)


def _deadline(definition: SagaDefinition, state: SagaState, now: datetime) -> datetime | None:
    """Return when a running saga is compensated instead; None past the pivot, where it can't be."""
    if state.past_pivot:
        return None
    return (state.resumed_at or state.started_at or now) + _seconds(definition.deadline)


def _backward(definition: SagaDefinition, state: SagaState, now: datetime) -> Decision:
    step = state.next_compensation
    if step is None:
        failed = any(s.status is StepStatus.COMPENSATION_FAILED for s in state.steps)
        if failed:
            return Record(event=_park_for_operator(state, now))
        return Record(event=next_event(state, now, EventType.SAGA_COMPENSATED))
    so_far = step.compensation or CompensationState()
    if so_far.retry_at is not None and now < so_far.retry_at:
        return Wait(until=so_far.retry_at)
    defined, attempt = definition.by_name[step.name], so_far.attempts + 1
    if _key_expired(definition, so_far.started_at, now):
        return LookUp(step=defined, attempt=attempt, compensating=True)
    return Compensate(step=defined, attempt=attempt)


def _key_expired(definition: SagaDefinition, first_send: datetime | None, now: datetime) -> bool:
    """Whether a service may have forgotten the key that was first sent then."""
    return first_send is not None and now >= first_send + _seconds(definition.key_window)


@lru_cache
def _seconds(seconds: float) -> timedelta:
    """Cached, as a timedelta costs more to make than to add, and the same few are needed at each step."""
    return timedelta(seconds=seconds)


def _poisoned(state: SagaState, now: datetime) -> SagaEvent:
    """Park the saga. But if a compensation kills its process, abandon only that one, and run the others."""
    step = state.next_compensation if state.status is SagaStatus.COMPENSATING else None
    if step is None:
        return _park_for_operator(state, now, _POISONED)
    attempt = step.compensation.attempts + 1 if step.compensation else 1
    return next_event(
        state, now, EventType.COMPENSATION_FAILED, step=step.name, attempt=attempt, error=_POISONED
    )


def _park_for_operator(state: SagaState, now: datetime, error: dict[str, JSON] | None = None) -> SagaEvent:
    extra: dict[str, JSON] = {"error": error} if error else {}
    return next_event(state, now, EventType.SAGA_NEEDS_ATTENTION, **extra)


_DEADLINE: dict[str, JSON] = {
    "code": "deadline_exceeded",
    "message": "The whole checkout took longer than its deadline.",
    "kind": FailureKind.DEADLINE.value,
}
_CANCELLED: dict[str, JSON] = {
    "code": "cancelled",
    "message": "An operator cancelled the checkout.",
    "kind": FailureKind.CANCELLED.value,
}
_POISONED: dict[str, JSON] = {
    "code": "poisoned",
    "message": f"The process running this saga died {POISON_AFTER} times without progress.",
    "kind": FailureKind.POISONED.value,
}
