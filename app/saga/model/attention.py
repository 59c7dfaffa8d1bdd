"""What blocks a saga that needs attention: one sentence for the API, the dashboard, the command line and webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.saga.model.events import TrailEntry
from app.saga.model.state import CompensationState, SagaState, StepState
from app.saga.model.status import SagaStatus, StepStatus
from app.saga.model.step import JSON


class StepAction(StrEnum):
    """Which of a step's two actions."""

    EXECUTE = "execute"
    COMPENSATE = "compensate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """What an operator has to deal with, and since when.

    `step`, `action` and `code` are those of the first stuck step in the saga's order. `message` is the sentence to
    show; it names every stuck step. `step` is None if no step was under way.
    """

    step: str | None
    action: StepAction
    code: str
    message: str
    since: datetime


def attention_of(state: SagaState, last: TrailEntry) -> Attention | None:
    """Return what blocks a saga, or None if it doesn't need attention. `last` is its newest event."""
    if state.status is not SagaStatus.NEEDS_ATTENTION:
        return None
    stuck = [step for step in state.steps if step.status is StepStatus.COMPENSATION_FAILED]
    if stuck:
        return Attention(
            step=stuck[0].name,
            action=StepAction.COMPENSATE,
            code=_code((stuck[0].compensation or CompensationState()).error),
            message=" ".join(_not_compensated(step) for step in stuck),
            since=last.at,
        )
    current, parked = state.current, last.data.get("error")
    error = parked or (current.error if current else None)
    message = sentence(_message(error))
    if current is not None and not parked:
        message = f"The {current.name} step failed after the pivot, when nothing can be compensated any more: {message}"
    return Attention(
        step=current.name if current else None,
        action=StepAction.EXECUTE,
        code=_code(error),
        message=message,
        since=last.at,
    )


def sentence(message: str) -> str:
    """Return a message as a sentence: with an end, or a stand-in if it is empty."""
    message = message.strip() or "No reason was given"
    return message if message.endswith((".", "!", "?")) else f"{message}."


def _not_compensated(step: StepState) -> str:
    took = "took effect" if step.error is None else "may have taken effect"
    error = (step.compensation or CompensationState()).error
    return f"The {step.name} step {took} and can't be compensated: {sentence(_message(error))}"


def _code(error: Mapping[str, JSON] | None) -> str:
    return str((error or {}).get("code", "unknown"))


def _message(error: Mapping[str, JSON] | None) -> str:
    return str((error or {}).get("message", ""))
