"""What a saga can be due: to send something, to wait, to record an event, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.saga.model.definition import StepDefinition
from app.saga.model.events import SagaEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class Execute:
    """Send the step's action; `attempt` counts from 1. The step is abandoned at `deadline`; past the pivot never."""

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
    """Ask what became of the step's action, or its compensation if `compensating`; `attempt` continues their count."""

    step: StepDefinition
    attempt: int
    compensating: bool
    deadline: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Nothing is due before that time."""

    until: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Nothing is to be sent: append this event."""

    event: SagaEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class Inactive:
    """Nothing is due: the saga is finished, or waits for an operator."""


Decision = Execute | Compensate | LookUp | Wait | Record | Inactive
