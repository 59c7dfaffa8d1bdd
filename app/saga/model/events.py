"""What a saga's log holds: frozen facts, in the order in which they became durable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from app.saga.model.cached_attribute import cached_attribute
from app.saga.model.step import JSON, encode


class EventType(StrEnum):
    """The words of the trail."""

    SAGA_STARTED = "saga_started"  # durable; the first step may have started
    STEP_SUCCEEDED = "step_succeeded"  # and the next step may have started
    STEP_RETRIED = "step_retried"  # no definite answer; it will be sent again
    STEP_FAILED = "step_failed"  # no further attempt, certainly without effect
    STEP_UNKNOWN = "step_unknown"  # no further attempt, may have had an effect: to be compensated too
    STEP_COMPENSATED = "step_compensated"  # compensated, acknowledged by the service
    COMPENSATION_RETRIED = "compensation_retried"  # not acknowledged; it will be sent again
    COMPENSATION_FAILED = "compensation_failed"  # can't be compensated; an operator must act
    SAGA_RECOVERED = "saga_recovered"  # its owner was gone; another took it over
    CANCEL_REQUESTED = "cancel_requested"  # an operator stopped it: it is compensated
    RETRY_REQUESTED = "retry_requested"  # an operator has the failed step retried
    STEP_RESOLVED = "step_resolved"  # an operator settled this step outside
    SAGA_COMPLETED = "saga_completed"  # every step succeeded
    SAGA_COMPENSATED = "saga_compensated"  # every effect was compensated
    SAGA_NEEDS_ATTENTION = "saga_needs_attention"  # all that could run did; the rest needs an operator


BY_OPERATORS = frozenset({EventType.CANCEL_REQUESTED, EventType.RETRY_REQUESTED, EventType.STEP_RESOLVED})
"""The operators' actions: nothing else makes a saga that needs attention continue."""


@dataclass(frozen=True, kw_only=True)
class TrailEntry:
    """One line of a saga's trail as it is stored, whatever its word: a newer release may have written it.

    `seq` counts from 1 without gaps; `data` is a JSON object.
    """

    seq: int
    at: datetime
    type: str
    step: str | None = None
    attempt: int | None = None
    data: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SagaEvent(TrailEntry):
    """One line of a saga's trail, in a word that this release knows.

    `attempt` counts the sends of one action from 1. `data` is a JSON object; its members, where they apply:
    `result` (a step's), `error` (`code`, `message`, `kind`), `outcome` (`unavailable` or `unknown`),
    `duration_ms`, `next_action_at` (RFC 3339); of a person's action `who`, `reason`, `action` (its id) and
    `reference`.
    """

    type: EventType

    @cached_attribute
    def text(self) -> str:
        """The data as JSON text; raise `LogRefused` where it isn't JSON."""
        return encode(self.data) if self.data else "{}"


Observer = Callable[[str, Sequence[SagaEvent]], None]
"""Gets a saga's id and the events of one append, in their order, once they are durable; logs, metrics and traces are observers.

It must not block, and what it raises is swallowed: an observer never harms a saga."""
