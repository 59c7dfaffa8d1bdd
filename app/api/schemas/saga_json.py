"""A saga as the API shows it: the contract's members in the contract's order, made straight from its state and events.

`saga_body` describes the same members; a test compares them. Never shown are the payment method, the address, the items
and the simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.api.http.json_encoding import moment, number
from app.checkout.presentation import subject
from app.operations.saga_view import SagaView
from app.saga.model.attention import Attention
from app.saga.model.events import TrailEntry
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import CompensationState, Failure, StepState

Shown = dict[str, Any]
"""A JSON object for `encode`."""


def saga_json(view: SagaView) -> Shown:
    """Return what is shown of a saga."""
    saga, state = view.saga, view.state
    shown = {
        "id": saga.id,
        "definition": saga.definition,
        "version": saga.version,
        "status": state.status,
        **subject(saga),
        "created_at": moment(view.created_at),
        "updated_at": moment(state.updated_at or view.created_at),
        "finished_at": _moment(state.finished_at),
        "next_action_at": _moment(view.next_action_at),
        "failure": _failure(state.failure),
        "attention": _attention(view.attention),
        "cancel": _action(view.cancel),
        "steps": [_step(step) for step in state.steps],
        "trail": [trail_line(event) for event in view.events],
    }
    if view.unreadable is not None:
        shown["unreadable"] = {"reason": view.unreadable}
    return shown


def trail_line(event: TrailEntry) -> Shown:
    """Return what is shown of an event, whatever it holds; a member that doesn't apply is left out."""
    line: Shown = {"seq": event.seq, "at": moment(event.at), "event": event.type}
    if event.step is not None:
        line["step"] = event.step
    if event.attempt is not None:
        line["attempt"] = event.attempt
    try:
        return line | _details(event.data) if event.data else line
    except (ValueError, TypeError, AttributeError):  # another release's event: show what every event has
        return line


def _details(data: Mapping[str, Any]) -> Shown:
    details: Shown = {}
    for name in ("duration_ms", "outcome", "looked_up"):
        if (value := data.get(name)) is not None:
            details[name] = value
    if (error := data.get("error")) is not None:
        details["error"] = _error(error)
    if next_action_at := data.get("next_action_at"):
        details["next_action_at"] = moment(datetime.fromisoformat(next_action_at))
    for name in ("who", "reason", "reference"):
        if (value := data.get(name)) is not None:
            details[name] = value
    return details


def _failure(failure: Failure | None) -> Shown | None:
    if failure is None:
        return None
    return {
        "step": failure.step,
        "code": failure.code,
        "message": failure.message,
        "retryable": failure.retryable,
    }


def _attention(attention: Attention | None) -> Shown | None:
    if attention is None:
        return None
    return {
        "step": attention.step,
        "action": attention.action,
        "code": attention.code,
        "message": attention.message,
        "since": moment(attention.since),
    }


def _step(step: StepState) -> Shown:
    return {
        "name": step.name,
        "status": step.status,
        "attempts": step.attempts,
        "result": _settled(step.result),
        "error": None if step.error is None else _error(step.error),
        "started_at": None if step.started_at is None else moment(step.started_at),
        "finished_at": None if step.finished_at is None else moment(step.finished_at),
        "compensation": None if step.compensation is None else _compensation(step.compensation),
        "resolved_by": None if step.resolved_by is None else _action(step.resolved_by),
    }


def _action(action: OperatorAction | None) -> Shown | None:
    if action is None:
        return None
    shown = {"who": action.who, "at": moment(action.at), "reason": action.reason}
    return shown if action.reference is None else {**shown, "reference": action.reference}


def _compensation(compensation: CompensationState | None) -> Shown | None:
    if compensation is None:
        return None
    return {
        "attempts": compensation.attempts,
        "result": _settled(compensation.result),
        "error": _error(compensation.error),
        "finished_at": _moment(compensation.finished_at),
    }


def _error(error: Mapping[str, Any] | None) -> Shown | None:
    if error is None:
        return None
    return {"code": str(error.get("code", "unknown")), "message": str(error.get("message", ""))}


def _moment(at: datetime | None) -> datetime | str | None:
    return None if at is None else moment(at)


def _settled(value: Any) -> Any:
    """Return a result in one order of members: a database may give them back in another."""
    kind = type(value)
    if kind is str or kind is int or value is None:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {name: _settled(value[name]) for name in sorted(value)}
    if kind is float:
        return number(value)
    if isinstance(value, list | tuple):
        return [_settled(one) for one in value]
    return value
