"""The page's texts: statuses, events, times, and what a saga waits for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.operations.saga_view import SagaView
from app.saga.model.attention import sentence
from app.saga.model.events import EventType
from app.saga.model.state import SagaState, StepState
from app.saga.model.status import SagaStatus, StepStatus

UNREADABLE = "This release can't read all of this checkout, so it can neither continue it nor act on it."

STATUSES: Mapping[SagaStatus, str] = {
    SagaStatus.NEEDS_ATTENTION: "Needs attention",
    SagaStatus.RUNNING: "Running",
    SagaStatus.COMPENSATING: "Compensating",
    SagaStatus.COMPLETED: "Completed",
    SagaStatus.COMPENSATED: "Compensated",
}
"""In the order in which an operator wants to see them."""

MARKS: Mapping[str, str] = {
    "needs_attention": "!",
    "running": "▸",
    "compensating": "◂",
    "completed": "✓",
    "compensated": "↺",
}
"""So that statuses differ by more than colour."""

EVENTS: Mapping[str, str] = {
    EventType.SAGA_STARTED: "Checkout started",
    EventType.STEP_SUCCEEDED: "succeeded",
    EventType.STEP_RETRIED: "no answer, may have taken effect: retried",
    EventType.STEP_FAILED: "failed, without effect",
    EventType.STEP_UNKNOWN: "failed, may have taken effect",
    EventType.STEP_COMPENSATED: "compensated",
    EventType.COMPENSATION_RETRIED: "compensation not acknowledged: retried",
    EventType.COMPENSATION_FAILED: "can't be compensated",
    EventType.SAGA_RECOVERED: "Taken over by another replica",
    EventType.CANCEL_REQUESTED: "Cancelled by an operator",
    EventType.RETRY_REQUESTED: "Retried by an operator",
    EventType.STEP_RESOLVED: "settled outside by an operator",
    EventType.SAGA_COMPLETED: "Completed",
    EventType.SAGA_COMPENSATED: "Everything done was compensated",
    EventType.SAGA_NEEDS_ATTENTION: "Needs attention",
}
STEP_STATUSES: Mapping[StepStatus, str] = {
    StepStatus.PENDING: "not started",
    StepStatus.RUNNING: "running",
    StepStatus.SUCCEEDED: "done",
    StepStatus.FAILED: "failed, without effect",
    StepStatus.UNKNOWN: "failed, may have taken effect",
    StepStatus.COMPENSATING: "being compensated",
    StepStatus.COMPENSATED: "compensated",
    StepStatus.COMPENSATION_FAILED: "can't be compensated",
}
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def said(event: str, outcome: str | None = None) -> str:
    """Return what happened; an event of a newer release by its own name."""
    if event == EventType.STEP_RETRIED and outcome == "unavailable":
        return "unavailable, without effect: retried"
    return EVENTS.get(event, event)


def lasting(seconds: float) -> str:
    """Return a length of time in its two largest units: `1 h 5 min`, `12.3 s`, `48 ms`."""
    seconds = max(0.0, seconds)
    if seconds < 0.01:
        return f"{seconds * 1000:.1f}".removesuffix(".0") + " ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    left, parts = round(seconds), []
    for size, unit in _UNITS:
        count, rest = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
            left = rest
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def ago(begin: datetime, now: datetime) -> str:
    """Return how long ago something was, to a useful precision."""
    seconds = (now - begin) / timedelta(seconds=1)
    return "just now" if seconds < 1 else f"{lasting(round(seconds) if seconds < 60 else seconds)} ago"


def took(begin: datetime, end: datetime) -> str:
    """Return the length of time from one instant to another."""
    return lasting((end - begin) / timedelta(seconds=1))


def now_is(view: SagaView, now: datetime) -> str:
    """Return in a sentence or two what a saga does or waits for, and until when."""
    state = view.state
    if view.unreadable is not None:
        return f"{UNREADABLE} {view.unreadable}"
    match state.status:
        case SagaStatus.COMPLETED:
            return "Paid, reserved and shipped. Nothing is left to do."
        case SagaStatus.COMPENSATED:
            why = f" {sentence(state.failure.message)}" if state.failure else ""
            return f"It failed, and everything done was compensated.{why}"
        case SagaStatus.NEEDS_ATTENTION:
            return _stuck(view)
    step, back = turn(state), state.status is SagaStatus.COMPENSATING
    why = f" It compensates because: {sentence(state.failure.message)}" if state.failure and back else ""
    if step is None:
        return f"It continues at once.{why}"
    due = state.next_action_at
    if due is not None and due > now:
        error = (step.compensation.error if step.compensation else None) if back else step.error
        last = f" The last answer was: {sentence(str(error['message']))}" if error else ""
        what = f"The compensation of the {step.name} step" if back else f"The {step.name} step"
        return f"{what} is retried in {took(now, due)}, at {clock(due)}.{last}{why}"
    doing = f"The {step.name} step is being compensated." if back else f"The {step.name} step is running."
    if view.cancel is not None and state.cancelled_by is None:
        doing += f" {view.cancel.who} has cancelled the checkout: it compensates once this is answered."
    if view.next_action_at is not None and view.next_action_at > now:
        doing += f" If this replica fails, another takes over after {clock(view.next_action_at)}."
    return f"{doing}{why}"


def _stuck(view: SagaView) -> str:
    blocks = view.attention.message if view.attention else "It can't continue."
    return (
        f"{blocks} Everything else that could be done was done. Retry it, or settle it outside and say where."
    )


def turn(state: SagaState) -> StepState | None:
    """Return the step that is executing or compensating, or will be next."""
    if state.status is SagaStatus.COMPENSATING:
        tried = {StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}
        done = (state.step(name) for name in reversed(state.completion_order))
        return next((step for step in done if step.status not in tried), None)
    return state.current


def stuck_steps(view: SagaView) -> list[str]:
    """Return the steps that an operator may settle outside."""
    failed = [s.name for s in view.state.steps if s.status is StepStatus.COMPENSATION_FAILED]
    if not failed and view.state.status is SagaStatus.NEEDS_ATTENTION and view.state.current is not None:
        return [view.state.current.name]
    return failed


def clock(at: datetime) -> str:
    """Return a time of day, UTC, to the second."""
    return f"{at:%H:%M:%S} UTC"
