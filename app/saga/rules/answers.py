"""Which event a step's answer makes: pure functions of the action, the state, the answer and the time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.saga.model.errors import FailureKind, StepError, StepRejected, StepUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.retry import Jitter, RetryPolicy
from app.saga.model.state import SagaState
from app.saga.model.step import JSON, Closed
from app.saga.rules.decisions import Compensate, Execute, LookUp
from app.saga.rules.next_event import next_event

_SUCCEEDED = EventType.STEP_SUCCEEDED


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

    After an attempt with an unknown outcome, a refusal isn't certain: the earlier request may still arrive. So the
    step's outcome is unknown, and its compensation closes it.
    """
    name, attempt = action.step.name, action.attempt
    if not isinstance(answer, StepError):
        return next_event(
            state, now, _SUCCEEDED, step=name, attempt=attempt, result=answer, duration_ms=duration_ms
        )
    timed: dict[str, JSON] = {"duration_ms": duration_ms}
    unknown = not isinstance(answer, StepRejected | StepUnavailable)
    error = _error(answer)
    attempts = attempt - state.step(name).attempts_before_reset
    if isinstance(answer, StepRejected) or attempts >= action.step.policy.attempts:
        outcome_unknown = unknown or state.step(name).outcome_unknown
        abandoned = EventType.STEP_UNKNOWN if outcome_unknown else EventType.STEP_FAILED
        return next_event(state, now, abandoned, step=name, attempt=attempt, error=error, **timed)
    retry_at = _retry_at(
        action.step.policy, attempts, answer, now=now, jitter=jitter, deadline=action.deadline
    )
    return next_event(
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
        return next_event(
            state, now, EventType.STEP_COMPENSATED, step=name, attempt=attempt, result=answer, **timed
        )
    error = _error(answer)
    policy = action.step.compensation
    attempts = attempt - _compensations_before_reset(state, name)
    if isinstance(answer, StepRejected) or attempts >= policy.attempts:
        return next_event(
            state, now, EventType.COMPENSATION_FAILED, step=name, attempt=attempt, error=error, **timed
        )
    retry_at = _retry_at(policy, attempts, answer, now=now, jitter=jitter)
    return next_event(
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

    A result means that the action succeeded, `Closed` that it is compensated. An action that left nothing is
    abandoned: its compensation, under a key of its own, closes it. A compensation that can't be shown to have
    happened is left to an operator: sending it again might refund twice.
    """
    name, attempt, compensating = action.step.name, action.attempt, action.compensating
    how: dict[str, JSON] = {"duration_ms": duration_ms, "looked_up": True}
    policy = action.step.compensation if compensating else action.step.policy
    before_reset = (
        _compensations_before_reset(state, name) if compensating else state.step(name).attempts_before_reset
    )
    attempts = attempt - before_reset
    if isinstance(answer, StepError):
        abandon = isinstance(answer, StepRejected) or attempts >= policy.attempts
        error = _error(answer)
        again_at = _retry_at(policy, attempts, answer, now=now, jitter=jitter, deadline=action.deadline)
        retry_at = _text(again_at)
    else:
        if isinstance(answer, Closed) if compensating else isinstance(answer, Mapping):
            done = EventType.STEP_COMPENSATED if compensating else EventType.STEP_SUCCEEDED
            result = {} if compensating else answer
            return next_event(state, now, done, step=name, attempt=attempt, result=result, **how)
        abandon, error, retry_at = True, _KEY_EXPIRED, None
    if abandon:
        abandoned = EventType.COMPENSATION_FAILED if compensating else EventType.STEP_UNKNOWN
        return next_event(state, now, abandoned, step=name, attempt=attempt, error=error, **how)
    again = EventType.COMPENSATION_RETRIED if compensating else EventType.STEP_RETRIED
    if not compensating:
        how["outcome"] = "unknown"
    return next_event(
        state, now, again, step=name, attempt=attempt, error=error, next_action_at=retry_at, **how
    )


def _retry_at(
    policy: RetryPolicy,
    attempts: int,
    answer: StepError,
    *,
    now: datetime,
    jitter: Jitter,
    deadline: datetime | None = None,
) -> datetime:
    """Return when to retry: as the service asked, but at the latest at the deadline, when the step is abandoned."""
    limit = None if deadline is None else max(0.0, (deadline - now).total_seconds())
    pause = policy.pause(attempts, jitter=jitter, retry_after=answer.retry_after, limit=limit)
    return now + timedelta(seconds=pause if limit is None else min(pause, limit))


_KEY_EXPIRED: dict[str, JSON] = {
    "code": "key_expired",
    "message": "It was sent so long ago that sending it again might do it twice, and a look-up didn't settle it.",
    "kind": FailureKind.TIMEOUT.value,
}


def _compensations_before_reset(state: SagaState, name: str) -> int:
    compensation = state.step(name).compensation
    return compensation.attempts_before_reset if compensation else 0


def _error(error: StepError) -> dict[str, JSON]:
    return {"code": error.code, "message": str(error), "kind": error.kind.value}


def _text(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
