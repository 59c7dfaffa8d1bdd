"""A saga's state, as the fold of its log. Pure: no clock, no I/O.

                 every step succeeded
running ───────────────────────────────▶ completed
   │ a step was given up, before the pivot
   ▼
compensating ──────────────────────────▶ compensated
   │           everything was undone
   │ something could not be undone; or, from running, a step after the pivot failed
   ▼
needs_attention ───────────────────────▶ running, or compensating: where it was parked
                 a person retries it, settles a step outside, or cancels it before the pivot
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from app.saga.model.definition import SagaDefinition
from app.saga.model.errors import FailureKind, SagaError
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.step import JSON, StepKind


class SagaStatus(StrEnum):
    """Where a saga stands."""

    RUNNING = "running"  # going forward
    COMPENSATING = "compensating"  # going back
    COMPLETED = "completed"  # every step succeeded; final
    COMPENSATED = "compensated"  # everything done was undone; final
    NEEDS_ATTENTION = "needs_attention"  # a person must act


FINAL = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED})
INACTIVE = FINAL | {SagaStatus.NEEDS_ATTENTION}
"""No replica works on a saga in one of these."""

EDGES: Mapping[SagaStatus, frozenset[SagaStatus]] = {
    SagaStatus.RUNNING: frozenset(
        {SagaStatus.COMPENSATING, SagaStatus.COMPLETED, SagaStatus.NEEDS_ATTENTION}
    ),
    SagaStatus.COMPENSATING: frozenset({SagaStatus.COMPENSATED, SagaStatus.NEEDS_ATTENTION}),
    SagaStatus.COMPLETED: frozenset(),
    SagaStatus.COMPENSATED: frozenset(),
    SagaStatus.NEEDS_ATTENTION: frozenset({SagaStatus.RUNNING, SagaStatus.COMPENSATING}),
}
"""The only ways from one status to another."""


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"  # its turn has not come
    RUNNING = "running"  # its turn is now; it may have begun
    SUCCEEDED = "succeeded"  # done
    FAILED = "failed"  # given up, certainly without effect
    UNKNOWN = "unknown"  # given up, may have had an effect
    COMPENSATING = "compensating"  # being undone
    COMPENSATED = "compensated"  # undone
    COMPENSATION_FAILED = "compensation_failed"  # can't be undone


_State = TypeVar("_State")


class IllegalEvent(SagaError):
    """This event can't follow what the log holds: the log is not one that this code wrote."""


@dataclass(frozen=True, kw_only=True)
class CompensationState:
    """How the undoing of a step stands.

    `started_at` is when it was first due. `spent` of the attempts belong to a budget that a person renewed.
    `result` is what the step's compensation returned.
    """

    started_at: datetime | None = None
    attempts: int = 0
    spent: int = 0
    result: Mapping[str, JSON] | None = None
    error: Mapping[str, JSON] | None = None
    retry_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class StepState:
    """How a step stands.

    `maybe` says that an attempt without a definite answer may have had its effect. `spent` of the attempts
    belong to a budget that a person renewed. `resolved_by` is who settled it, or its undoing, outside.
    """

    name: str
    kind: StepKind
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    spent: int = 0
    maybe: bool = False
    result: Mapping[str, JSON] | None = None
    error: Mapping[str, JSON] | None = None
    retry_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    compensation: CompensationState | None = None
    resolved_by: OperatorAction | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a saga went back: the step that was given up and its last error."""

    step: str | None
    code: str
    message: str
    kind: FailureKind

    @property
    def retryable(self) -> bool:
        """Whether the same checkout might succeed if it were tried anew."""
        return self.kind in {
            FailureKind.UNUSABLE,
            FailureKind.UNAVAILABLE,
            FailureKind.TIMEOUT,
            FailureKind.DEADLINE,
        }


@dataclass(frozen=True, kw_only=True)
class SagaState:
    """A saga as its log tells it.

    `effects` names the steps that had, or may have had, an effect, in the persisted order in which
    that became known; compensation runs in its reverse. `recoveries` counts the takeovers since the
    last progress. `cancel` is by whom it was stopped. `resumed_at` is when a person had it go forward again.
    """

    steps: tuple[StepState, ...]
    status: SagaStatus = SagaStatus.RUNNING
    seq: int = 0
    effects: tuple[str, ...] = ()
    failure: Failure | None = None
    recoveries: int = 0
    cancel: OperatorAction | None = None
    started_at: datetime | None = None
    resumed_at: datetime | None = None
    updated_at: datetime | None = None
    finished_at: datetime | None = None

    def step(self, name: str) -> StepState:
        """Return the step of that name; raise `IllegalEvent` where the saga has none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise IllegalEvent(f"The saga has no step {name!r}.")

    @property
    def current(self) -> StepState | None:
        """The step whose turn it is going forward: the first that has not succeeded."""
        for step in self.steps:
            if step.status is not StepStatus.SUCCEEDED:
                return step
        return None

    @property
    def past_pivot(self) -> bool:
        """Whether there is no way back any more."""
        return any(s.kind is StepKind.PIVOT and s.status is StepStatus.SUCCEEDED for s in self.steps)

    @property
    def parked_at(self) -> SagaStatus:
        """Where a saga that needs attention goes on: as it was when it stopped, forward or back."""
        back = any(step.status is StepStatus.COMPENSATION_FAILED for step in self.steps)
        return SagaStatus.COMPENSATING if back else SagaStatus.RUNNING

    @property
    def cancellable(self) -> bool:
        """Whether it goes forward, or stopped doing so, and can still go back."""
        forward = self.status is SagaStatus.RUNNING or (
            self.status is SagaStatus.NEEDS_ATTENTION and self.parked_at is SagaStatus.RUNNING
        )
        return forward and self.current is not None and not self.past_pivot and self.cancel is None

    def resolvable(self, name: str) -> bool:
        """Whether that step is what a saga that needs attention can't get over."""
        if self.status is not SagaStatus.NEEDS_ATTENTION:
            return False
        step = self.step(name)
        return step.status is StepStatus.COMPENSATION_FAILED or (self.past_pivot and step == self.current)

    @property
    def next_action_at(self) -> datetime | None:
        """Until when a saga in back-off waits; None while it is being worked on or at rest."""
        if self.status is SagaStatus.RUNNING and (step := self.current):
            return step.retry_at
        if self.status is SagaStatus.COMPENSATING and (step := self.undoing):
            return step.compensation.retry_at if step.compensation else None
        return None

    @property
    def undoing(self) -> StepState | None:
        """The step whose compensation is due: the last effect that is neither undone nor given up."""
        for name in reversed(self.effects):
            step = self.step(name)
            if (
                step.status is not StepStatus.COMPENSATED
                and step.status is not StepStatus.COMPENSATION_FAILED
            ):
                return step
        return None


BY_PERSONS = frozenset({EventType.CANCEL_REQUESTED, EventType.RETRY_REQUESTED, EventType.STEP_RESOLVED})
"""The operators' actions: the only way on for a saga that needs attention."""


if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(state: _State, **changes: Any) -> _State:
        """`dataclasses.replace` at a fifth of its cost: a fold does little else."""
        changed = object.__new__(type(state))
        object.__setattr__(changed, "__dict__", state.__dict__ | changes)
        return changed


def fold(definition: SagaDefinition, events: Iterable[SagaEvent]) -> SagaState:
    """Return the state that a log tells; raise `IllegalEvent` where it can't be one."""
    state = initial(definition)
    for event in events:
        state = apply(state, event)
    return state


def initial(definition: SagaDefinition) -> SagaState:
    """Return the state before the first event."""
    return SagaState(steps=tuple(StepState(name=step.name, kind=step.kind) for step in definition))


def apply(state: SagaState, event: SagaEvent) -> SagaState:
    """Return the state after one more event; raise `IllegalEvent` where it can't follow."""
    if event.seq != state.seq + 1:
        raise IllegalEvent(f"Event {event.seq} can't follow event {state.seq}.")
    if (event.seq == 1) is not (event.type is EventType.SAGA_STARTED):
        raise IllegalEvent("A trail begins with saga_started, and has no other.")
    if state.status in FINAL or (state.status is SagaStatus.NEEDS_ATTENTION and event.type not in BY_PERSONS):
        raise IllegalEvent(f"{event.type} can't follow once the saga is {state.status}.")
    state = replace(state, seq=event.seq, updated_at=event.at)
    if event.type is not EventType.SAGA_RECOVERED and state.recoveries:
        state = replace(state, recoveries=0)
    return _APPLY[event.type](state, event)


def _put(state: SagaState, step: StepState, **changes: Any) -> SagaState:
    steps = tuple([step if s.name == step.name else s for s in state.steps])
    return replace(state, steps=steps, **changes)


def _named(state: SagaState, event: SagaEvent) -> StepState:
    if event.step is None:
        raise IllegalEvent(f"{event.type} without a step.")
    return state.step(event.step)


def _go(state: SagaState, to: SagaStatus) -> SagaState:
    if to not in EDGES[state.status]:
        raise IllegalEvent(f"A saga can't go from {state.status} to {to}.")
    return replace(state, status=to)


def _begin_current(state: SagaState, at: datetime) -> SagaState:
    """The success of one step implies that the next may have begun, so that both are one durable point."""
    step = state.current
    return state if step is None else _put(state, replace(step, status=StepStatus.RUNNING, started_at=at))


def _begin_undoing(state: SagaState) -> SagaState:
    step = state.undoing
    if step is None:
        return state
    compensation = step.compensation or CompensationState(started_at=state.updated_at)
    return _put(state, replace(step, status=StepStatus.COMPENSATING, compensation=compensation))


def _when(event: SagaEvent) -> datetime | None:
    at = event.data.get("next_action_at")
    return datetime.fromisoformat(at) if isinstance(at, str) else None


def _saga_started(state: SagaState, event: SagaEvent) -> SagaState:
    return _begin_current(replace(state, started_at=event.at), event.at)


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
    state = _put(state, step, effects=(*state.effects, step.name))
    return _begin_current(state, event.at)


def _running(state: SagaState, event: SagaEvent) -> StepState:
    step = _named(state, event)
    if state.status is not SagaStatus.RUNNING or step.status is not StepStatus.RUNNING:
        raise IllegalEvent(f"{event.type} for step {step.name!r}, whose turn it is not.")
    return step


def _step_retried(state: SagaState, event: SagaEvent) -> SagaState:
    step = _running(state, event)
    return _put(
        state,
        replace(
            step,
            attempts=event.attempt or step.attempts + 1,
            maybe=step.maybe or event.data.get("outcome") == "unknown",
            error=event.data.get("error"),
            retry_at=_when(event),
        ),
    )


def _step_given_up(state: SagaState, event: SagaEvent) -> SagaState:
    step = _running(state, event)
    unknown = event.type is EventType.STEP_UNKNOWN
    error: Mapping[str, JSON] = event.data.get("error") or {}
    step = replace(
        step,
        status=StepStatus.UNKNOWN if unknown else StepStatus.FAILED,
        attempts=event.attempt if event.attempt is not None else step.attempts,
        maybe=step.maybe or unknown,
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
    state = _put(state, step, failure=failure)
    if state.past_pivot:
        return state
    if unknown:
        state = replace(state, effects=(*state.effects, step.name))
    return _begin_undoing(_go(state, SagaStatus.COMPENSATING))


def _undoing(state: SagaState, event: SagaEvent) -> tuple[StepState, CompensationState]:
    step = _named(state, event)
    if state.status is not SagaStatus.COMPENSATING or step != state.undoing:
        raise IllegalEvent(f"{event.type} for step {step.name!r}, whose turn it is not.")
    return step, step.compensation or CompensationState()


def _step_compensated(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _undoing(state, event)
    compensation = replace(
        compensation,
        attempts=event.attempt or compensation.attempts + 1,
        result=event.data.get("result"),
        error=None,
        retry_at=None,
        finished_at=event.at,
    )
    return _begin_undoing(
        _put(
            state,
            replace(step, status=StepStatus.COMPENSATED, compensation=compensation),
        )
    )


def _compensation_retried(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _undoing(state, event)
    compensation = replace(
        compensation,
        attempts=event.attempt or compensation.attempts + 1,
        error=event.data.get("error"),
        retry_at=_when(event),
    )
    return _put(state, replace(step, compensation=compensation))


def _compensation_failed(state: SagaState, event: SagaEvent) -> SagaState:
    step, compensation = _undoing(state, event)
    compensation = replace(
        compensation,
        attempts=event.attempt or compensation.attempts + 1,
        error=event.data.get("error"),
        retry_at=None,
        finished_at=event.at,
    )
    return _begin_undoing(
        _put(
            state,
            replace(step, status=StepStatus.COMPENSATION_FAILED, compensation=compensation),
        )
    )


def _saga_recovered(state: SagaState, _event: SagaEvent) -> SagaState:
    """Whatever was on its way when the owner died may have arrived."""
    state = replace(state, recoveries=state.recoveries + 1)
    if state.status is SagaStatus.RUNNING and (step := state.current):
        state = _put(state, replace(step, maybe=True))
    return state


def _cancel_requested(state: SagaState, event: SagaEvent) -> SagaState:
    """Mark it as stopped; that the current step is given up for it is an event of its own."""
    if not state.cancellable:
        raise IllegalEvent("This saga can't be cancelled any more.")
    if state.status is SagaStatus.NEEDS_ATTENTION:
        state = replace(_go(state, SagaStatus.RUNNING), failure=None)
    return replace(state, cancel=OperatorAction.of(event.data, event.at))


def _retry_requested(state: SagaState, event: SagaEvent) -> SagaState:
    if state.status is not SagaStatus.NEEDS_ATTENTION:
        raise IllegalEvent("Only a saga that needs attention is retried.")
    state = _go(state, state.parked_at)
    if state.status is SagaStatus.COMPENSATING:
        return _begin_undoing(replace(state, steps=tuple(_to_be_undone(step) for step in state.steps)))
    state = replace(state, failure=None, resumed_at=event.at)
    step = state.current
    if step is None:
        return state
    again = replace(step, status=StepStatus.RUNNING, spent=step.attempts, retry_at=None, finished_at=None)
    return _put(state, again)


def _to_be_undone(step: StepState) -> StepState:
    """Return a step whose compensation failed as it was before, with a new budget."""
    if step.status is not StepStatus.COMPENSATION_FAILED or step.compensation is None:
        return step
    compensation = replace(
        step.compensation, spent=step.compensation.attempts, retry_at=None, finished_at=None
    )
    before = StepStatus.SUCCEEDED if step.error is None else StepStatus.UNKNOWN
    return replace(step, status=before, compensation=compensation)


def _step_resolved(state: SagaState, event: SagaEvent) -> SagaState:
    step = _named(state, event)
    if not state.resolvable(step.name):
        raise IllegalEvent(f"Step {step.name!r} is not one that needs to be settled.")
    action = OperatorAction.of(event.data, event.at)
    state = _go(state, state.parked_at)
    if state.status is SagaStatus.COMPENSATING:
        compensation = replace(
            step.compensation or CompensationState(), error=None, retry_at=None, finished_at=event.at
        )
        return _put(
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
    effects = (*state.effects, step.name)
    state = _put(state, step, effects=effects, failure=None, resumed_at=event.at)
    return _begin_current(state, event.at)


def _saga_finished(state: SagaState, event: SagaEvent) -> SagaState:
    to = _FINISH[event.type]
    if to is SagaStatus.COMPLETED and state.current is not None:
        raise IllegalEvent("A saga is completed only when every step has succeeded.")
    if to is SagaStatus.COMPENSATED and any(
        state.step(name).status is not StepStatus.COMPENSATED for name in state.effects
    ):
        raise IllegalEvent("A saga is compensated only when every effect has been undone.")
    failure = state.failure
    if failure is None and (error := event.data.get("error")):
        failure = Failure(
            step=event.step,
            code=error["code"],
            message=error["message"],
            kind=FailureKind(error["kind"]),
        )
    return replace(_go(state, to), failure=failure, finished_at=event.at if to in FINAL else None)


_FINISH: Mapping[EventType, SagaStatus] = {
    EventType.SAGA_COMPLETED: SagaStatus.COMPLETED,
    EventType.SAGA_COMPENSATED: SagaStatus.COMPENSATED,
    EventType.SAGA_NEEDS_ATTENTION: SagaStatus.NEEDS_ATTENTION,
}

_APPLY: Mapping[EventType, Callable[[SagaState, SagaEvent], SagaState]] = {
    EventType.SAGA_STARTED: _saga_started,
    EventType.STEP_SUCCEEDED: _step_succeeded,
    EventType.STEP_RETRIED: _step_retried,
    EventType.STEP_FAILED: _step_given_up,
    EventType.STEP_UNKNOWN: _step_given_up,
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
