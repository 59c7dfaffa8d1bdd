"""The events in a saga's log: immutable facts, in the order in which they became durable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from app.saga.model.cached_attribute import cached_attribute
from app.saga.model.record import record
from app.saga.model.step import JSON, Encode, encode


class EventType(StrEnum):
    """The types of events."""

    SAGA_STARTED = "saga_started"  # durable; the first step may have started
    STEP_SUCCEEDED = "step_succeeded"  # and the next step may have started
    STEP_RETRIED = "step_retried"  # no definite answer; it is retried
    STEP_FAILED = "step_failed"  # no attempts left, certainly without effect
    STEP_UNKNOWN = "step_unknown"  # no attempts left, may have had an effect: compensated too
    STEP_COMPENSATED = "step_compensated"  # the service acknowledged the compensation
    COMPENSATION_RETRIED = "compensation_retried"  # not acknowledged; it is retried
    COMPENSATION_FAILED = "compensation_failed"  # can't be compensated; an operator must act
    SAGA_RECOVERED = "saga_recovered"  # another replica took it over from a dead one
    CANCEL_REQUESTED = "cancel_requested"  # an operator cancelled it; it is compensated
    RETRY_REQUESTED = "retry_requested"  # an operator retries the failed step
    STEP_RESOLVED = "step_resolved"  # an operator resolved this step by hand
    SAGA_COMPLETED = "saga_completed"  # every step succeeded
    SAGA_COMPENSATED = "saga_compensated"  # every effect was compensated
    SAGA_NEEDS_ATTENTION = "saga_needs_attention"  # nothing more can run until an operator acts


BY_OPERATORS = frozenset({EventType.CANCEL_REQUESTED, EventType.RETRY_REQUESTED, EventType.STEP_RESOLVED})
"""Operators' actions. Only these make a saga that needs attention continue."""


@record(frozen=True, kw_only=True)
class TrailEntry:
    """One line of a saga's trail as it is stored. Its type may be one that only a newer release knows.

    `seq` counts from 1 without gaps; `data` is a JSON object.
    """

    seq: int
    at: datetime
    type: str
    step: str | None = None
    attempt: int | None = None
    data: Mapping[str, JSON] = field(default_factory=dict)


@record(frozen=True, kw_only=True)
class SagaEvent(TrailEntry):
    """One line of a saga's trail, of a type that this release knows.

    `attempt` counts the requests of one action from 1. `data` is a JSON object. Its members, where they apply:
    `result` (a step's), `error` (`code`, `message`, `kind`), `outcome` (`unavailable` or `unknown`),
    `duration_ms`, `next_action_at` (RFC 3339), and for an operator's action `who`, `reason`, `action` (its id)
    and `reference`.
    """

    type: EventType

    @cached_attribute
    def text(self) -> str:
        """The data as JSON text. Raise `LogRefused` if it isn't JSON."""
        return self.encode()

    def encode(self, encode: Encode = encode) -> str:
        """Make `text` once, by this encoder."""
        text = self.__dict__["text"] = encode(self.data) if self.data else "{}"
        return text


Observer = Callable[[str, Sequence[SagaEvent]], None]
"""Receives a saga's id and the events of one append, in order, once they are durable. Logs, metrics and traces are observers.

It must not block. What it raises is ignored: an observer never harms a saga."""
