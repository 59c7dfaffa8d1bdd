"""What to do next, and what an answer means: pure functions of the definition, the state and the time.

The orchestrator asks `decide`, acts, and records what `after_execute` or `after_compensate` make of
the answer. First execution, recovery and an operator's retry all go through here.

A step that is accepted now and settled later will be one more `Wait` here, woken by a signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from app.saga.model.definition import SagaDefinition, StepDefinition
from app.saga.model.errors import FailureKind, StepError, StepRejected, StepUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.retry import Jitter, RetryPolicy
from app.saga.model.state import INACTIVE, CompensationState, SagaState, SagaStatus, StepStatus
from app.saga.model.step import JSON, Closed

POISON_AFTER = 5
"""A saga whose owner died this often without any progress is parked for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execute:
    """Send the step's action; `attempt` counts from 1. At `deadline` the step is given up; past the pivot never."""

    step: StepDefinition
    attempt: int
    deadline: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compensate:
    """Send the step's compensation; `attempt` counts from 1."""

    step: StepDefinition
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LookUp:
    """Ask what became of the step's action, or of its compensation; `attempt` goes on from its sends."""

    step: StepDefinition
    attempt: int
    undoing: bool
    deadline: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Nothing is due before that time."""

    until: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Nothing is to be sent: the saga goes on with this event."""

    event: SagaEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class Rest:
    """The saga is finished, or waits for a person."""


Decision = Execute | Compensate | LookUp | Wait | Record | Rest


def decide(definition: SagaDefinition, state: SagaState, now: datetime) -> Decision:
    """Return what is due at `now`."""
    if state.status in INACTIVE:
        return Rest()
    if state.recoveries >= POISON_AFTER:
        return Record(event=_poisoned(state, now))
    if state.status is SagaStatus.RUNNING:
        return _forward(definition, state, now)
    return _backward(definition, state, now)


def _forward(definition: SagaDefinition, state: SagaState, now: datetime) -> Decision:
    step = state.current
    if step is None:
        return Record(event=_event(state, now, EventType.SAGA_COMPLETED))
    if step.status is not StepStatus.RUNNING:
        return Record(event=_attend(state, now))
    deadline = _deadline(definition, state, now)
    if state.cancel is not None or (deadline is not None and now >= deadline):
        given_up = EventType.STEP_UNKNOWN if step.maybe else EventType.STEP_FAILED
        return Record(
            event=_event(
                state,
                now,
                given_up,
                step=step.name,
                attempt=step.attempts,
                error=_DEADLINE if state.cancel is None else _CANCELLED,
            )
        )
    if step.retry_at is not None and now < step.retry_at:
        return Wait(until=step.retry_at if deadline is None else min(step.retry_at, deadline))
    defined, attempt = _defined(definition, step.name), step.attempts + 1
    if _expired(definition, step.started_at, now):
        return LookUp(step=defined, attempt=attempt, undoing=False, deadline=deadline)
    return Execute(step=defined, attempt=attempt, deadline=deadline)


def _deadline(definition: SagaDefinition, state: SagaState, now: datetime) -> datetime | None:
    """Return when a saga that goes forward turns back; None past the pivot, where it can't."""
    if state.past_pivot:
        return None
    return (state.resumed_at or state.started_at or now) + _seconds(definition.deadline)


def _backward(definition: SagaDefinition, state: SagaState, now: datetime) -> Decision:
    step = state.undoing
    if step is None:
        failed = any(s.status is StepStatus.COMPENSATION_FAILED for s in state.steps)
        return Record(event=_attend(state, now) if failed else _event(state, now, EventType.SAGA_COMPENSATED))
    so_far = step.compensation or CompensationState()
    if so_far.retry_at is not None and now < so_far.retry_at:
        return Wait(until=so_far.retry_at)
    defined, attempt = _defined(definition, step.name), so_far.attempts + 1
    if _expired(definition, so_far.started_at, now):
        return LookUp(step=defined, attempt=attempt, undoing=True)
    return Compensate(step=defined, attempt=attempt)


def cancelled(state: SagaState, wish: OperatorAction, now: datetime) -> SagaEvent | None:
    """Return the event with which a saga heeds a person's wish to stop it; None where it can't any more."""
    return asked(state, EventType.CANCEL_REQUESTED, wish, now) if state.cancellable else None


def asked(
    state: SagaState, what: EventType, action: OperatorAction, now: datetime, *, step: str | None = None
) -> SagaEvent:
    """Return the event that a person's action is."""
    return _event(state, now, what, step=step, **action.data())


def _expired(definition: SagaDefinition, first_send: datetime | None, now: datetime) -> bool:
    """Whether a service may have forgotten the key that was first sent then."""
    return first_send is not None and now >= first_send + _seconds(definition.key_window)


@lru_cache
def _seconds(seconds: float) -> timedelta:
    """The same few are asked for at each boundary, and a timedelta costs more to make than to add."""
    return timedelta(seconds=seconds)


def _poisoned(state: SagaState, now: datetime) -> SagaEvent:
    """Park the saga; but where a compensation is the poison, only that one is given up, and the others run."""
    step = state.undoing if state.status is SagaStatus.COMPENSATING else None
    if step is None:
        return _attend(state, now, _POISONED)
    attempt = step.compensation.attempts + 1 if step.compensation else 1
    return _event(state, now, EventType.COMPENSATION_FAILED, step=step.name, attempt=attempt, error=_POISONED)


def after_execute(
    action: Execute,
    state: SagaState,
    answer: dict[str, JSON] | StepError,
    *,
    now: datetime,
    duration_ms: float,
    jitter: Jitter,
) -> SagaEvent:
    """Return the event that a step's answer makes.

    A definite no after an attempt of unknown outcome is not certain any more: that attempt may still
    be on its way. So the step counts as unknown, and its compensation closes it.
    """
    name, attempt = action.step.name, action.attempt
    timed: dict[str, JSON] = {"duration_ms": duration_ms}
    if not isinstance(answer, StepError):
        return _event(
            state,
            now,
            EventType.STEP_SUCCEEDED,
            step=name,
            attempt=attempt,
            result=answer,
            **timed,
        )
    unknown = not isinstance(answer, StepRejected | StepUnavailable)
    error = _error(answer)
    tries = attempt - state.step(name).spent
    if isinstance(answer, StepRejected) or tries >= action.step.policy.attempts:
        maybe = unknown or state.step(name).maybe
        given_up = EventType.STEP_UNKNOWN if maybe else EventType.STEP_FAILED
        return _event(state, now, given_up, step=name, attempt=attempt, error=error, **timed)
    retry_at = _retry_at(action.step.policy, tries, answer, now=now, jitter=jitter, deadline=action.deadline)
    return _event(
        state,
        now,
        EventType.STEP_RETRIED,
        step=name,
        attempt=attempt,
        error=error,
        outcome="unknown" if unknown else "unavailable",
        next_action_at=_text(retry_at),
        **timed,
    )


def after_compensate(
    action: Compensate,
    state: SagaState,
    answer: dict[str, JSON] | StepError,
    *,
    now: datetime,
    duration_ms: float,
    jitter: Jitter,
) -> SagaEvent:
    """Return the event that a compensation's answer makes."""
    name, attempt = action.step.name, action.attempt
    timed: dict[str, JSON] = {"duration_ms": duration_ms}
    if not isinstance(answer, StepError):
        return _event(
            state,
            now,
            EventType.STEP_COMPENSATED,
            step=name,
            attempt=attempt,
            result=answer,
            **timed,
        )
    error = _error(answer)
    policy = action.step.compensation
    tries = attempt - _spent_on_undoing(state, name)
    if isinstance(answer, StepRejected) or tries >= policy.attempts:
        return _event(
            state,
            now,
            EventType.COMPENSATION_FAILED,
            step=name,
            attempt=attempt,
            error=error,
            **timed,
        )
    retry_at = _retry_at(policy, tries, answer, now=now, jitter=jitter)
    return _event(
        state,
        now,
        EventType.COMPENSATION_RETRIED,
        step=name,
        attempt=attempt,
        error=error,
        next_action_at=_text(retry_at),
        **timed,
    )


def after_look_up(
    action: LookUp,
    state: SagaState,
    answer: Mapping[str, JSON] | Closed | StepError | None,
    *,
    now: datetime,
    duration_ms: float,
    jitter: Jitter,
) -> SagaEvent:
    """Return the event that a look-up's answer makes.

    What stands is a success, and what is closed is undone. An action of which nothing stands is given
    up: its compensation, under a key of its own, closes it. A compensation that can't be shown to have
    happened is a person's, as to send it again might pay the money back twice.
    """
    name, attempt = action.step.name, action.attempt
    how: dict[str, JSON] = {"duration_ms": duration_ms, "looked_up": True}
    policy = action.step.compensation if action.undoing else action.step.policy
    tries = attempt - (_spent_on_undoing(state, name) if action.undoing else state.step(name).spent)
    if isinstance(answer, StepError):
        given_up = isinstance(answer, StepRejected) or tries >= policy.attempts
        error = _error(answer)
        again_at = _retry_at(policy, tries, answer, now=now, jitter=jitter, deadline=action.deadline)
        retry_at = _text(again_at)
    else:
        settled = isinstance(answer, Closed) if action.undoing else isinstance(answer, Mapping)
        if settled:
            done = EventType.STEP_COMPENSATED if action.undoing else EventType.STEP_SUCCEEDED
            result = {} if action.undoing else answer
            return _event(state, now, done, step=name, attempt=attempt, result=result, **how)
        given_up, error, retry_at = True, _KEY_EXPIRED, None
    if given_up:
        end = EventType.COMPENSATION_FAILED if action.undoing else EventType.STEP_UNKNOWN
        return _event(state, now, end, step=name, attempt=attempt, error=error, **how)
    again = EventType.COMPENSATION_RETRIED if action.undoing else EventType.STEP_RETRIED
    if not action.undoing:
        how["outcome"] = "unknown"
    return _event(state, now, again, step=name, attempt=attempt, error=error, next_action_at=retry_at, **how)


def _retry_at(
    policy: RetryPolicy,
    tries: int,
    answer: StepError,
    *,
    now: datetime,
    jitter: Jitter,
    deadline: datetime | None = None,
) -> datetime:
    """Return when to try again: as the service asked, but at the deadline at the latest, as then nothing is sent."""
    limit = None if deadline is None else max(0.0, (deadline - now).total_seconds())
    pause = policy.pause(tries, jitter=jitter, retry_after=answer.retry_after, limit=limit)
    return now + timedelta(seconds=pause if limit is None else min(pause, limit))


_KEY_EXPIRED: dict[str, JSON] = {
    "code": "key_expired",
    "message": "It was sent so long ago that sending it again might do it twice, and a look-up didn't settle it.",
    "kind": FailureKind.TIMEOUT.value,
}
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


def _spent_on_undoing(state: SagaState, name: str) -> int:
    compensation = state.step(name).compensation
    return compensation.spent if compensation else 0


def _attend(state: SagaState, now: datetime, error: dict[str, JSON] | None = None) -> SagaEvent:
    extra: dict[str, JSON] = {"error": error} if error else {}
    return _event(state, now, EventType.SAGA_NEEDS_ATTENTION, **extra)


def _event(
    state: SagaState,
    now: datetime,
    event: EventType,
    *,
    step: str | None = None,
    attempt: int | None = None,
    **data: JSON,
) -> SagaEvent:
    at = max(now, state.updated_at) if state.updated_at else now
    return SagaEvent(seq=state.seq + 1, at=at, type=event, step=step, attempt=attempt, data=data)


def _error(error: StepError) -> dict[str, JSON]:
    return {"code": error.code, "message": str(error), "kind": error.kind.value}


def _defined(definition: SagaDefinition, name: str) -> StepDefinition:
    for step in definition.steps:
        if step.name == name:
            return step
    raise KeyError(name)


def _text(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
