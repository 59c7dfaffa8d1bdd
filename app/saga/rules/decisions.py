"""What can be due in a saga: to send a request, to wait, to record an event, or nothing."""

from __future__ import annotations

from datetime import datetime

from app.saga.model.definition import StepDefinition
from app.saga.model.events import SagaEvent
from app.saga.model.record import record


@record(frozen=True, kw_only=True, slots=True)
class Execute:
    """Execute the step; `attempt` counts from 1. The step is abandoned at `deadline`; after the pivot there is none."""

    step: StepDefinition
    attempt: int
    deadline: datetime | None = None


@record(frozen=True, kw_only=True, slots=True)
class Compensate:
    """Compensate the step; `attempt` counts from 1."""

    step: StepDefinition
    attempt: int


@record(frozen=True, kw_only=True, slots=True)
class LookUp:
    """Look up what became of the step, or of its compensation if `compensating`; `attempt` continues their count."""

    step: StepDefinition
    attempt: int
    compensating: bool
    deadline: datetime | None = None


@record(frozen=True, kw_only=True, slots=True)
class Wait:
    """Nothing is due before that time."""

    until: datetime


@record(frozen=True, kw_only=True, slots=True)
class Record:
    """Append this event, without a request."""

    event: SagaEvent


@record(frozen=True, kw_only=True, slots=True)
class Inactive:
    """Nothing is due: the saga is finished, or waits for an operator."""


Decision = Execute | Compensate | LookUp | Wait | Record | Inactive
