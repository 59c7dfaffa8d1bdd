"""How each event changes a saga's state, as a table. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from app.saga.model.errors import FailureKind, IllegalEvent
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import CompensationState, Failure, SagaState, StepState, replace
from app.saga.model.status import EDGES, FINAL, SagaStatus, StepStatus
from app.saga.model.step import JSON

_Steps = tuple[StepState, ...]
_RUNNING, _STEP_RUNNING, _STEP_SUCCEEDED = SagaStatus.RUNNING, StepStatus.RUNNING, StepStatus.SUCCEEDED


def _after(state: SagaState, event: SagaEvent, **changes: Any) -> SagaState:
    """Return the state after an event. Any event is progress, except a takeover."""
    return replace(state, seq=event.seq, updated_at=event.at, recoveries=0, **changes)


def _with(steps: _Steps, step: StepState) -> _Steps:
    return tuple([step if s.name == step.name else s for s in steps])


def _named(state: SagaState, event: SagaEvent) -> StepState:
    if event.step is None:
        raise IllegalEvent(f"{event.type} without a step.")
    return state.step(event.step)


def _allowed(state: SagaState, to: SagaStatus) -> SagaStatus:
    if to not in EDGES[state.status]:
        raise IllegalEvent(f"A saga can't go from {state.status} to {to}.")
    return to


def _start_current(steps: _Steps, at: datetime) -> _Steps:
    """Both at one durable point: that a step succeeded implies that the next one may have been sent."""
    for step in steps:
        if step.status is not _STEP_SUCCEEDED:
            return _with(steps, replace(step, status=_STEP_RUNNING, started_at=at))
    return steps


def _start_next_compensation(state: SagaState) -> SagaState:
    step = state.next_compensation
    if step is None:
        return state
    compensation = step.compensation or CompensationState(started_at=state.updated_at)
    step = replace(step, status=StepStatus.COMPENSATING, compensation=compensation)
    return replace(state, steps=_with(state.steps, step))


def _next_action_at(event: SagaEvent) -> datetime | None:
    at = event.data.get("next_action_at")
    return datetime.fromisoformat(at) if isinstance(at, str) else None


def _saga_started(state: SagaState, event: SagaEvent) -> SagaState:
    return _after(state, event, started_at=event.at, steps=_start_current(state.steps, event.at))


def _step_succeeded(state: SagaState, event: SagaEvent) -> SagaState:
    step = replace(
        _running(state, event),
        status=_STEP_SUCCEEDED,
        attempts=event.attempt or 1,
        result=event.data.get("result"),
        error=None,
        retry_at=None,
        finished_at=event.at,
    )
    steps = _start_current(_with(state.steps, step), event.at)
    return _after(state, event, steps=steps, completion_order=(*state.completion_order, step.name))


def _running(state: SagaState, event: SagaEvent) -> StepState:
    step = _named(state, event)
    if state.status is not _RUNNING or step.status is not _STEP_RUNNING:
        raise IllegalEvent(f"{event.type} for step {step.name!r}, which isn't the current one.")
    return step


def _step_retried(state: SagaState, event: SagaEvent) -> SagaState:
    step = _running(state, event)
    step = replace(
        step,
        attempts=event.attempt or step.attempts + 1,
        outcome_unknown=step.outcome_unknown or event.data.get("outcome") == "unknown",
        error=event.data.get("error"),
        retry_at=_next_action_at(event),
    )
    return _after(state, event, steps=_with(state.steps, step))


def _step_abandoned(state: SagaState, event: SagaEvent) -> SagaState:
    step = _running(state, event)
    unknown = event.type is EventType.STEP_UNKNOWN
    error: Mapping[str, JSON] = event.data.get("error") or {}
    step = replace(
        step,
        status=StepStatus.UNKNOWN if unknown else StepStatus.FAILED,
        attempts=event.attempt if event.attempt is not None else step.attempts,
        outcome_unknown=step.outcome_unknown or unknown,
        error=error,
        retry_at=None,
        finished_at=event.at,
    )
    failure = Failure(
        step=step.name,
        code=str(error.get("code", "unknown")),
        message=str(error.get("message", "")),
        kind=FailureKind(error.get("kind", FailureKind.UNUSABLE)),
    )
    steps = _with(state.steps, step)
    if state.past_pivot:
        return _after(state, event, steps=steps, failure=failure)
    return _start_next_compensation(
        _after(
            state,
            event,
            status=_allowed(state, SagaStatus.COMPENSATING),
            steps=steps,
            completion_order=(*state.completion_order, step.name) if unknown else state.completion_order,
            failure=failure,
        )
    )


def _compensating(state: SagaState, event: SagaEvent) -> tuple[StepState, CompensationState]:
    """Return the step whose compensation this event is about, and the state of that with this attempt counted."""
    step = _named(state, event)
    if state.status is not SagaStatus.COMPENSATING or step is not state.next_compensation:
        raise IllegalEvent(f"{event.type} for step {step.name!r}, which isn't the current one.")
    compensation = step.compensation or CompensationState()
    return step, replace(compensation, attempts=event.attempt or compensation.attempts + 1)


def _step_compensated(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _compensating(state, event)
    compensation = replace(
        compensation, result=event.data.get("result"), error=None, retry_at=None, finished_at=event.at
    )
    step = replace(step, status=StepStatus.COMPENSATED, compensation=compensation)
    return _start_next_compensation(_after(state, event, steps=_with(state.steps, step)))


def _compensation_retried(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _compensating(state, event)
    compensation = replace(compensation, error=event.data.get("error"), retry_at=_next_action_at(event))
    return _after(state, event, steps=_with(state.steps, replace(step, compensation=compensation)))


def _compensation_failed(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _compensating(state, event)
    compensation = replace(compensation, error=event.data.get("error"), retry_at=None, finished_at=event.at)
    step = replace(step, status=StepStatus.COMPENSATION_FAILED, compensation=compensation)
    return _start_next_compensation(_after(state, event, steps=_with(state.steps, step)))


def _saga_recovered(state: SagaState, event: SagaEvent) -> SagaState:
    """Note the takeover: what the dead owner had sent may have arrived."""
    steps = state.steps
    if state.status is _RUNNING and (step := state.current):
        steps = _with(steps, replace(step, outcome_unknown=True))
    return replace(_after(state, event, steps=steps), recoveries=state.recoveries + 1)


def _cancel_requested(state: SagaState, event: SagaEvent) -> SagaState:
    """Mark it as cancelled. An event of its own then abandons the current step."""
    if not state.cancellable:
        raise IllegalEvent("This saga can't be cancelled any more.")
    action = OperatorAction.of(event.data, event.at)
    if state.status is SagaStatus.NEEDS_ATTENTION:
        return _after(state, event, status=_allowed(state, _RUNNING), failure=None, cancelled_by=action)
    return _after(state, event, cancelled_by=action)


def _retry_requested(state: SagaState, event: SagaEvent) -> SagaState:
    if state.status is not SagaStatus.NEEDS_ATTENTION:
        raise IllegalEvent("Only a saga that needs attention is retried.")
    status, steps = _allowed(state, state.status_before_parking), state.steps
    if status is SagaStatus.COMPENSATING:
        steps = tuple(_to_be_compensated(step) for step in steps)
        return _start_next_compensation(_after(state, event, status=status, steps=steps))
    if (step := state.current) is not None:
        again = replace(
            step, status=_STEP_RUNNING, attempts_before_reset=step.attempts, retry_at=None, finished_at=None
        )
        steps = _with(steps, again)
    return _after(state, event, status=status, steps=steps, failure=None, resumed_at=event.at)


def _to_be_compensated(step: StepState) -> StepState:
    """Return a step whose compensation failed as it was before, with new attempts."""
    if step.status is not StepStatus.COMPENSATION_FAILED or step.compensation is None:
        return step
    compensation = replace(
        step.compensation, attempts_before_reset=step.compensation.attempts, retry_at=None, finished_at=None
    )
    before = StepStatus.SUCCEEDED if step.error is None else StepStatus.UNKNOWN
    return replace(step, status=before, compensation=compensation)


def _step_resolved(state: SagaState, event: SagaEvent) -> SagaState:
    step = _named(state, event)
    if not state.resolvable(step.name):
        raise IllegalEvent(f"Step {step.name!r} is not one to resolve.")
    action = OperatorAction.of(event.data, event.at)
    status = _allowed(state, state.status_before_parking)
    if status is SagaStatus.COMPENSATING:
        compensation = replace(
            step.compensation or CompensationState(), error=None, retry_at=None, finished_at=event.at
        )
        step = replace(step, status=StepStatus.COMPENSATED, compensation=compensation, resolved_by=action)
        return _after(state, event, status=status, steps=_with(state.steps, step))
    step = replace(
        step,
        status=_STEP_SUCCEEDED,
        result={} if action.reference is None else {"reference": action.reference},
        error=None,
        retry_at=None,
        finished_at=event.at,
        resolved_by=action,
    )
    return _after(
        state,
        event,
        status=status,
        steps=_start_current(_with(state.steps, step), event.at),
        completion_order=(*state.completion_order, step.name),
        failure=None,
        resumed_at=event.at,
    )


def _saga_finished(state: SagaState, event: SagaEvent) -> SagaState:
    to = _FINISH[event.type]
    if to is SagaStatus.COMPLETED and state.current is not None:
        raise IllegalEvent("A saga is completed only when every step has succeeded.")
    if to is SagaStatus.COMPENSATED and any(
        state.step(name).status is not StepStatus.COMPENSATED for name in state.completion_order
    ):
        raise IllegalEvent("A saga is compensated only when every effect is compensated.")
    failure = state.failure
    if failure is None and (error := event.data.get("error")):
        failure = Failure(
            step=event.step,
            code=error["code"],
            message=error["message"],
            kind=FailureKind(error["kind"]),
        )
    return _after(
        state,
        event,
        status=_allowed(state, to),
        failure=failure,
        finished_at=event.at if to in FINAL else None,
    )


_FINISH: Mapping[EventType, SagaStatus] = {
    EventType.SAGA_COMPLETED: SagaStatus.COMPLETED,
    EventType.SAGA_COMPENSATED: SagaStatus.COMPENSATED,
    EventType.SAGA_NEEDS_ATTENTION: SagaStatus.NEEDS_ATTENTION,
}

TRANSITIONS: Mapping[EventType, Callable[[SagaState, SagaEvent], SagaState]] = {
    EventType.SAGA_STARTED: _saga_started,
    EventType.STEP_SUCCEEDED: _step_succeeded,
    EventType.STEP_RETRIED: _step_retried,
    EventType.STEP_FAILED: _step_abandoned,
    EventType.STEP_UNKNOWN: _step_abandoned,
    EventType.STEP_COMPENSATED: _step_compensated,
    EventType.COMPENSATION_RETRIED: _compensation_retried,
    EventType.COMPENSATION_FAILED: _compensation_failed,
    EventType.SAGA_RECOVERED: _saga_recovered,
    EventType.CANCEL_REQUESTED: _cancel_requested,
    EventType.RETRY_REQUESTED: _retry_requested,
    EventType.STEP_RESOLVED: _step_resolved,
    EventType.SAGA_COMPLETED: _saga_finished,
    EventType.SAGA_COMPENSATED: _saga_finished,
    EventType.SAGA_NEEDS_ATTENTION: _saga_finished,
}
