"""A saga as the API describes it: the contract's members in the contract's order. `saga_json` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from app.saga.model.attention import StepAction
from app.saga.model.events import EventType
from app.saga.model.status import SagaStatus, StepStatus


@dataclass(kw_only=True)
class ErrorBody:
    """A service's error."""

    code: Annotated[str, Field(description="A stable snake_case word for programs.")]
    message: Annotated[str, Field(description="For people.")]


@dataclass(kw_only=True)
class FailureBody:
    """Why the saga was compensated."""

    step: str | None
    code: str
    message: str
    retryable: Annotated[bool, Field(description="Whether the same checkout may succeed under a new key.")]


@dataclass(kw_only=True)
class AttentionBody:
    """What blocks a saga that needs attention, and waits for an operator."""

    step: Annotated[
        str | None, Field(description="The first step that is stuck; null if none was under way.")
    ]
    action: Annotated[StepAction, Field(description="What failed: the step, or its compensation.")]
    code: Annotated[str, Field(description="A stable snake_case word for programs.")]
    message: Annotated[str, Field(description="For people: a sentence about every step that is stuck.")]
    since: datetime


@dataclass(kw_only=True)
class CompensationBody:
    """The state of a step's compensation."""

    attempts: int
    result: Annotated[
        dict[str, Any] | None,
        Field(description="What the service answered, such as a `refund_id`."),
    ]
    error: ErrorBody | None
    finished_at: datetime | None


@dataclass(kw_only=True)
class ActionBody:
    """What an operator did: who, when and why, and where to look it up."""

    who: str
    at: datetime
    reason: str
    reference: str | None = None


@dataclass(kw_only=True)
class StepBody:
    """The state of a step."""

    name: str
    status: StepStatus
    attempts: int
    result: Annotated[
        dict[str, Any] | None,
        Field(description="What the service answered: the contract's members and others, within limits."),
    ]
    error: ErrorBody | None
    started_at: datetime | None
    finished_at: datetime | None
    compensation: CompensationBody | None
    resolved_by: Annotated[
        ActionBody | None, Field(description="Who settled it, or its compensation, outside.")
    ]


@dataclass(kw_only=True)
class TrailBody:
    """One line of the trail; a member that does not apply is left out."""

    seq: Annotated[int, Field(description="From 1, without gaps.")]
    at: datetime
    event: Annotated[
        EventType | str,
        Field(description="A newer release may add other words: show them as they are."),
    ]
    step: str | None = None
    attempt: int | None = None
    duration_ms: float | None = None
    outcome: Annotated[str | None, Field(description="`unknown` if it may have taken effect.")] = None
    looked_up: Annotated[
        bool | None, Field(description="True if it was looked up and not sent again, as its key was too old.")
    ] = None
    error: ErrorBody | None = None
    next_action_at: datetime | None = None
    who: Annotated[str | None, Field(description="The person or program whose action this is.")] = None
    reason: str | None = None
    reference: Annotated[str | None, Field(description="Where an operator settled the step.")] = None


@dataclass(kw_only=True)
class UnreadableBody:
    """Why this release can't continue or understand a saga."""

    reason: Annotated[str, Field(description="For people.")]


@dataclass(kw_only=True)
class SagaBody:
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
        Field(description="When it continues at the latest; null only if nothing is due."),
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


@dataclass(kw_only=True)
class SagaPageBody:
    """A page of sagas, newest first."""

    data: list[SagaBody]
    next_cursor: Annotated[str | None, Field(description="null on the last page.")]
