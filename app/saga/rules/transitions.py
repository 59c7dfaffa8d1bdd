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


def _with_step(state: SagaState, step: StepState, **changes: Any) -> SagaState:
    steps = tuple([step if s.name == step.name else s for s in state.steps])
    return replace(state, steps=steps, **changes)


def _named(state: SagaState, event: SagaEvent) -> StepState:
    if event.step is None:
        raise IllegalEvent(f"{event.type} without a step.")
    return state.step(event.step)


def _transition(state: SagaState, to: SagaStatus) -> SagaState:
    if to not in EDGES[state.status]:
        raise IllegalEvent(f"A saga can't go from {state.status} to {to}.")
    return replace(state, status=to)


def _start_current(state: SagaState, at: datetime) -> SagaState:
    """Both at one durable point: that a step succeeded implies that the next one may have been sent."""
    step = state.current
    return (
        state if step is None else _with_step(state, replace(step, status=StepStatus.RUNNING, started_at=at))
    )


def _start_next_compensation(state: SagaState) -> SagaState:
    step = state.next_compensation
    if step is None:
        return state
    compensation = step.compensation or CompensationState(started_at=state.updated_at)
    return _with_step(state, replace(step, status=StepStatus.COMPENSATING, compensation=compensation))


def _next_action_at(event: SagaEvent) -> datetime | None:
    at = event.data.get("next_action_at")
    return datetime.fromisoformat(at) if isinstance(at, str) else None


def _saga_started(state: SagaState, event: SagaEvent) -> SagaState:
    return _start_current(replace(state, started_at=event.at), event.at)


def _step_succeeded(state: SagaState, event: SagaEvent) -> SagaState:
    step = replace(
        _running(state, event),
        status=StepStatus.SUCCEEDED,
        attempts=event.attempt or 1,
        result=event.data.get("result"),
        error=None,
        retry_at=None,
        finished_at=event.at,
    )
    state = _with_step(state, step, completion_order=(*state.completion_order, step.name))
    return _start_current(state, event.at)


def _running(state: SagaState, event: SagaEvent) -> StepState:
    step = _named(state, event)
    if state.status is not SagaStatus.RUNNING or step.status is not StepStatus.RUNNING:
        raise IllegalEvent(f"{event.type} for step {step.name!r}, which isn't the current one.")
    return step


def _step_retried(state: SagaState, event: SagaEvent) -> SagaState:
    step = _running(state, event)
    return _with_step(
        state,
        replace(
            step,
            attempts=event.attempt or step.attempts + 1,
            outcome_unknown=step.outcome_unknown or event.data.get("outcome") == "unknown",
            error=event.data.get("error"),
            retry_at=_next_action_at(event),
        ),
    )


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
    state = _with_step(state, step, failure=failure)
    if state.past_pivot:
        return state
    if unknown:
        state = replace(state, completion_order=(*state.completion_order, step.name))
    return _start_next_compensation(_transition(state, SagaStatus.COMPENSATING))


def _compensating(state: SagaState, event: SagaEvent) -> tuple[StepState, CompensationState]:
    """Return the step whose compensation this event is about, and the state of that with this attempt counted."""
    step = _named(state, event)
    if state.status is not SagaStatus.COMPENSATING or step != state.next_compensation:
        raise IllegalEvent(f"{event.type} for step {step.name!r}, which isn't the current one.")
    compensation = step.compensation or CompensationState()
    return step, replace(compensation, attempts=event.attempt or compensation.attempts + 1)


def _step_compensated(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _compensating(state, event)
    compensation = replace(
        compensation, result=event.data.get("result"), error=None, retry_at=None, finished_at=event.at
    )
    step = replace(step, status=StepStatus.COMPENSATED, compensation=compensation)
    return _start_next_compensation(_with_step(state, step))


def _compensation_retried(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _compensating(state, event)
    compensation = replace(compensation, error=event.data.get("error"), retry_at=_next_action_at(event))
    return _with_step(state, replace(step, compensation=compensation))


def _compensation_failed(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _compensating(state, event)
    compensation = replace(compensation, error=event.data.get("error"), retry_at=None, finished_at=event.at)
    step = replace(step, status=StepStatus.COMPENSATION_FAILED, compensation=compensation)
    return _start_next_compensation(_with_step(state, step))


def _saga_recovered(state: SagaState, _event: SagaEvent) -> SagaState:
    """Note the takeover: what the dead owner had sent may have arrived."""
    state = replace(state, recoveries=state.recoveries + 1)
    if state.status is SagaStatus.RUNNING and (step := state.current):
        state = _with_step(state, replace(step, outcome_unknown=True))
    return state


def _cancel_requested(state: SagaState, event: SagaEvent) -> SagaState:
    """Mark it as cancelled. An event of its own then abandons the current step."""
    if not state.cancellable:
        raise IllegalEvent("This saga can't be cancelled any more.")
    if state.status is SagaStatus.NEEDS_ATTENTION:
        state = replace(_transition(state, SagaStatus.RUNNING), failure=None)
    return replace(state, cancelled_by=OperatorAction.of(event.data, event.at))


def _retry_requested(state: SagaState, event: SagaEvent) -> SagaState:
    if state.status is not SagaStatus.NEEDS_ATTENTION:
        raise IllegalEvent("Only a saga that needs attention is retried.")
    state = _transition(state, state.status_before_parking)
    if state.status is SagaStatus.COMPENSATING:
        return _start_next_compensation(
            replace(state, steps=tuple(_to_be_compensated(step) for step in state.steps))
        )
    state = replace(state, failure=None, resumed_at=event.at)
    step = state.current
    if step is None:
        return state
    again = replace(
        step, status=StepStatus.RUNNING, attempts_before_reset=step.attempts, retry_at=None, finished_at=None
    )
    return _with_step(state, again)


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
    state = _transition(state, state.status_before_parking)
    if state.status is SagaStatus.COMPENSATING:
        compensation = replace(
            step.compensation or CompensationState(), error=None, retry_at=None, finished_at=event.at
        )
        return _with_step(
            state,
            replace(step, status=StepStatus.COMPENSATED, compensation=compensation, resolved_by=action),
        )
    step = replace(
        step,
        status=StepStatus.SUCCEEDED,
        result={} if action.reference is None else {"reference": action.reference},
        error=None,
        retry_at=None,
        finished_at=event.at,
        resolved_by=action,
    )
    completion_order = (*state.completion_order, step.name)
    state = _with_step(state, step, completion_order=completion_order, failure=None, resumed_at=event.at)
    return _start_current(state, event.at)


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
    return replace(_transition(state, to), failure=failure, finished_at=event.at if to in FINAL else None)


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
