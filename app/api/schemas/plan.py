"""What a checkout would do, without doing any of it: the answer to `dry_run=true`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from app.api.http.json_encoding import Body
from app.api.schemas.order import Order
from app.saga.model.definition import SagaDefinition, StepDefinition
from app.saga.model.step import StepKind


@dataclass(frozen=True, kw_only=True)
class PlannedStep(Body):
    """A step that the checkout would take."""

    name: str
    kind: StepKind
    does: str
    undone_by: Annotated[str | None, Field(description="null if it can't be compensated.")]
    attempts: int
    timeout_seconds: float


@dataclass(frozen=True, kw_only=True)
class PlanBody(Body):
    """A checkout that was validated and not started."""

    dry_run: bool
    definition: str
    version: int
    order_id: str
    amount: int
    currency: str
    steps: list[PlannedStep]


def plan_of(order: Order, definition: SagaDefinition) -> PlanBody:
    """Return what this order's checkout would do."""
    return PlanBody(
        dry_run=True,
        definition=definition.name,
        version=definition.version,
        order_id=order.order_id,
        amount=order.amount,
        currency=order.currency,
        steps=[_step(step) for step in definition],
    )


def _step(step: StepDefinition) -> PlannedStep:
    retriable = step.kind is StepKind.RETRIABLE
    return PlannedStep(
        name=step.name,
        kind=step.kind,
        does=_words(step.step, "does", step.step.execute, f"{step.name}.execute"),
        undone_by=None
        if retriable
        else _words(step.step, "undone_by", step.step.compensate, f"{step.name}.compensate"),
        attempts=step.policy.attempts,
        timeout_seconds=step.policy.timeout,
    )


def _words(step: object, attribute: str, action: object, otherwise: str) -> str:
    """Return what a step does: from an attribute, or its docstring's first line without what it returns."""
    if stated := getattr(step, attribute, ""):
        return str(stated)
    first = (inspect.getdoc(action) or "").partition("\n")[0]
    return first.partition(";")[0].rstrip(".") or otherwise
