"""A saga as the API shows it: the contract's members in the contract's order.

Never what the caller entrusted to it: the payment method, the address, the items and the simulation stay inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from app.api.http.json_encoding import Body, SparseBody
from app.checkout.presentation import subject
from app.operations.saga_view import SagaView
from app.saga.model.attention import Attention, StepAction
from app.saga.model.events import EventType, TrailEntry
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import CompensationState, Failure, StepState
from app.saga.model.status import SagaStatus, StepStatus


@dataclass(kw_only=True)
class ErrorBody(Body):
    """What a service said when something went wrong."""

    code: Annotated[str, Field(description="A stable snake_case word for programs.")]
    message: Annotated[str, Field(description="For people.")]


@dataclass(kw_only=True)
class FailureBody(Body):
    """Why the saga went back."""

    step: str | None
    code: str
    message: str
    retryable: Annotated[bool, Field(description="Whether the same checkout might succeed under a new key.")]


@dataclass(kw_only=True)
class AttentionBody(Body):
    """What blocks a saga that needs attention, and waits for an operator."""

    step: Annotated[
        str | None, Field(description="The first step that is stuck; null where none was under way.")
    ]
    action: Annotated[StepAction, Field(description="What failed: the step, or its compensation.")]
    code: Annotated[str, Field(description="A stable snake_case word for programs.")]
    message: Annotated[str, Field(description="For people: a sentence about every step that is stuck.")]
    since: datetime


@dataclass(kw_only=True)
class CompensationBody(Body):
    """The state of a step's compensation."""

    attempts: int
    result: Annotated[
        dict[str, Any] | None,
        Field(description="What the service answered, such as a `refund_id`."),
    ]
    error: ErrorBody | None
    finished_at: datetime | None


@dataclass(kw_only=True)
class ActionBody(SparseBody):
    """What an operator did: who, when and why, and where that can be looked up."""

    who: str
    at: datetime
    reason: str
    reference: str | None = None


@dataclass(kw_only=True)
class StepBody(Body):
    """The state of a step."""

    name: str
    status: StepStatus
    attempts: int
    result: Annotated[
        dict[str, Any] | None,
        Field(
            description="What the service answered: the contract's members, and what else it said, within bounds."
        ),
    ]
    error: ErrorBody | None
    started_at: datetime | None
    finished_at: datetime | None
    compensation: CompensationBody | None
    resolved_by: Annotated[
        ActionBody | None, Field(description="Who settled it, or its compensation, outside.")
    ]


@dataclass(kw_only=True)
class TrailBody(SparseBody):
    """One line of the trail; a member that does not apply is left out."""

    seq: Annotated[int, Field(description="From 1, without gaps.")]
    at: datetime
    event: Annotated[
        EventType | str,
        Field(description="A newer release's trail may have other words: show them as they are."),
    ]
    step: str | None = None
    attempt: int | None = None
    duration_ms: float | None = None
    outcome: Annotated[str | None, Field(description="`unknown` where it may have had its effect.")] = None
    looked_up: Annotated[
        bool | None, Field(description="True where it was asked about, not sent again: its key was too old.")
    ] = None
    error: ErrorBody | None = None
    next_action_at: datetime | None = None
    who: Annotated[str | None, Field(description="The person or program whose action this is.")] = None
    reason: str | None = None
    reference: Annotated[str | None, Field(description="Where an operator settled the step.")] = None


@dataclass(kw_only=True)
class UnreadableBody(Body):
    """Why this release can't continue or understand a saga."""

    reason: Annotated[str, Field(description="For people.")]


@dataclass(kw_only=True)
class SagaBody(Body):
    """One run of the checkout for one order."""

    id: Annotated[str, Field(description="A UUIDv7.")]
    definition: str
    version: int
    status: SagaStatus
    order_id: str
    customer_id: str
    amount: Annotated[
        int, Field(description="The sum of quantity times unit_price, in the currency's minor unit.")
    ]
    currency: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    next_action_at: Annotated[
        datetime | None,
        Field(description="When it continues at the latest; null only once nothing works on it."),
    ]
    failure: FailureBody | None
    attention: Annotated[
        AttentionBody | None,
        Field(
            description="What blocks it now; null unless it needs attention. `failure` is why it was compensated."
        ),
    ]
    cancel: Annotated[
        ActionBody | None,
        Field(description="Who asked for it to be cancelled; the attempt under way is awaited first."),
    ]
    steps: list[StepBody]
    trail: Annotated[list[TrailBody], Field(description="Append-only, never rewritten.")]
    unreadable: Annotated[
        UnreadableBody | None,
        Field(
            description="Present only if this release can't continue the saga or understand its trail. Then `steps` "
            "has what is known, possibly nothing, and an unknown amount is 0 XXX."
        ),
    ] = None

    def members(self) -> dict[str, Any]:
        """Leave `unreadable` out of nearly all."""
        if self.unreadable is not None:
            return vars(self)
        shown = vars(self).copy()
        del shown["unreadable"]
        return shown


@dataclass(kw_only=True)
class SagaPageBody(Body):
    """A page of sagas, newest first."""

    data: list[SagaBody]
    next_cursor: Annotated[str | None, Field(description="null on the last page.")]


def saga_body(view: SagaView) -> SagaBody:
    """Return what is shown of a saga."""
    saga, state = view.saga, view.state
    return SagaBody(
        id=saga.id,
        definition=saga.definition,
        version=saga.version,
        status=state.status,
        **subject(saga),
        created_at=view.created_at,
        updated_at=state.updated_at or view.created_at,
        finished_at=state.finished_at,
        next_action_at=view.next_action_at,
        failure=_failure(state.failure),
        attention=_attention(view.attention),
        cancel=_action(view.cancel),
        steps=[_step(step) for step in state.steps],
        trail=[trail_line(event) for event in view.events],
        unreadable=None if view.unreadable is None else UnreadableBody(reason=view.unreadable),
    )


def _failure(failure: Failure | None) -> FailureBody | None:
    if failure is None:
        return None
    return FailureBody(
        step=failure.step, code=failure.code, message=failure.message, retryable=failure.retryable
    )


def _attention(attention: Attention | None) -> AttentionBody | None:
    if attention is None:
        return None
    return AttentionBody(
        step=attention.step,
        action=attention.action,
        code=attention.code,
        message=attention.message,
        since=attention.since,
    )


def _step(step: StepState) -> StepBody:
    return StepBody(
        name=step.name,
        status=step.status,
        attempts=step.attempts,
        result=_settled(step.result),
        error=_error(step.error),
        started_at=step.started_at,
        finished_at=step.finished_at,
        compensation=_compensation(step.compensation),
        resolved_by=_action(step.resolved_by),
    )


def _action(action: OperatorAction | None) -> ActionBody | None:
    if action is None:
        return None
    return ActionBody(who=action.who, at=action.at, reason=action.reason, reference=action.reference)


def _compensation(compensation: CompensationState | None) -> CompensationBody | None:
    if compensation is None:
        return None
    return CompensationBody(
        attempts=compensation.attempts,
        result=_settled(compensation.result),
        error=_error(compensation.error),
        finished_at=compensation.finished_at,
    )


def trail_line(event: TrailEntry) -> TrailBody:
    """Return what is shown of an event, whatever it holds."""
    try:
        return _line(event)
    except (ValueError, TypeError, AttributeError):  # not this release's: what every event has can be told
        return TrailBody(seq=event.seq, at=event.at, event=event.type, step=event.step, attempt=event.attempt)


def _line(event: TrailEntry) -> TrailBody:
    data = event.data
    next_action_at = data.get("next_action_at")
    return TrailBody(
        seq=event.seq,
        at=event.at,
        event=event.type,
        step=event.step,
        attempt=event.attempt,
        duration_ms=data.get("duration_ms"),
        outcome=data.get("outcome"),
        looked_up=data.get("looked_up"),
        error=_error(data.get("error")),
        next_action_at=datetime.fromisoformat(next_action_at) if next_action_at else None,
        who=data.get("who"),
        reason=data.get("reason"),
        reference=data.get("reference"),
    )


def _error(error: Mapping[str, Any] | None) -> ErrorBody | None:
    if error is None:
        return None
    return ErrorBody(code=str(error.get("code", "unknown")), message=str(error.get("message", "")))


def _settled(value: Any) -> Any:
    """Return a result in one order of members: a database may give them back in another."""
    if isinstance(value, Mapping):
        return {name: _settled(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_settled(one) for one in value]
    return value
