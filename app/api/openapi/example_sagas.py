"""Example sagas: made of events, and shown by the very code that shows real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.api.http.json_encoding import encode
from app.api.schemas.order import Order
from app.api.schemas.outcome import failed
from app.api.schemas.plan import plan_of
from app.api.schemas.saga_json import saga_json
from app.checkout.definition import checkout_saga
from app.operations.saga_view import SagaView
from app.saga.model.definition import SagaDefinition
from app.saga.model.errors import FailureKind
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.step import JSON, Context
from app.saga.ports.log import NewSaga
from app.saga.rules.fold import fold

REQUEST_ID = "5f0c3b1e-6a52-4b0e-9d0a-3c6f1a2b4d5e"
SAGA_ID = "019c0b7e-5f00-7a31-8c22-5b0d9e4f7a10"
EVENT_ID = f"evt_{SAGA_ID.replace('-', '')}_5"
_STARTED = datetime(2026, 1, 30, 9, 30, tzinfo=UTC)

ORDER: dict[str, JSON] = {
    "order_id": "ord-1001",
    "customer_id": "cus-7",
    "currency": "EUR",
    "items": [{"sku": "TSHIRT-M", "quantity": 2, "unit_price": 1999}],
    "payment_method": "tok_visa",
    "shipping_address": {
        "name": "Ada L.",
        "line1": "1 Main St",
        "line2": None,
        "city": "Paris",
        "region": None,
        "postal_code": "75001",
        "country": "FR",
    },
    "metadata": {"campaign": "spring"},
}

_RESULTS: Mapping[str, dict[str, JSON]] = {
    "payment": {"amount": 3998, "currency": "EUR", "payment_id": "pay_01", "status": "captured"},
    "inventory": {"reservation_id": "res_01", "status": "reserved"},
    "shipping": {"shipment_id": "shp_01", "status": "booked"},
}
_COMPENSATED: Mapping[str, dict[str, JSON]] = {
    "payment": {"refund_id": "ref_01", "status": "refunded"},
    "inventory": {"status": "released"},
    "shipping": {"status": "cancelled"},
}
_WORDS: Mapping[str, tuple[str, str]] = {
    "payment": ("Charge", "Refund or void"),
    "inventory": ("Reserve all items or none", "Put the items back"),
    "shipping": ("Book a shipment", "Cancel the shipment"),
}


class _NamedStep:
    """A step that never runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.execute, self.compensate = (_described(words) for words in _WORDS[name])


def _described(words: str) -> Callable[[Context], Coroutine[Any, Any, None]]:
    async def action(_: Context) -> None:
        """Do nothing."""

    action.__doc__ = words
    return action


def definition() -> SagaDefinition:
    """Return the checkout, of steps that never run."""
    payment, inventory, shipping = (_NamedStep(name) for name in _RESULTS)
    return checkout_saga(payment=payment, inventory=inventory, shipping=shipping)


class Story:
    """A saga event by event, 20 ms apart."""

    def __init__(self) -> None:
        self._events: list[SagaEvent] = []
        self.then(EventType.SAGA_STARTED)

    def then(self, event: EventType, step: str | None = None, *, attempt: int = 1, **data: JSON) -> Story:
        at = _STARTED + timedelta(milliseconds=20 * len(self._events))
        sent = step is not None and "who" not in data
        if sent:
            data["duration_ms"] = 12.4
        self._events.append(
            SagaEvent(
                seq=len(self._events) + 1,
                at=at,
                type=event,
                step=step,
                attempt=attempt if sent else None,
                data=data,
            )
        )
        return self

    def succeeded(self, *steps: str) -> Story:
        for step in steps:
            self.then(EventType.STEP_SUCCEEDED, step, result=_RESULTS[step])
        return self

    def compensated(self, *steps: str) -> Story:
        for step in steps:
            self.then(EventType.STEP_COMPENSATED, step, result=_COMPENSATED[step])
        return self

    def view(self) -> SagaView:
        given = Order.of(ORDER, max_items=1).saga_input()
        saga = NewSaga(id=SAGA_ID, definition="checkout", version=2, input=given, request_id=REQUEST_ID)
        state = fold(definition(), self._events)
        view = SagaView(saga=saga, state=state, events=tuple(self._events), next_action_at=None)
        if view.inactive:
            return view
        due = state.next_action_at or _STARTED + timedelta(seconds=10)
        return SagaView(saga=saga, state=state, events=view.events, next_action_at=due)


def shown(body: object) -> Any:
    """Return a body as the JSON that a client gets."""
    return json.loads(encode(body))


def failed_body(
    code: str, message: str, kind: FailureKind, *, after: tuple[str, ...], at: str
) -> dict[str, Any]:
    """Return the problem of a checkout whose step `at` failed for good after the others had succeeded."""
    unknown = kind in {FailureKind.TIMEOUT, FailureKind.UNUSABLE}
    ended = EventType.STEP_UNKNOWN if unknown else EventType.STEP_FAILED
    attempt = 1 if kind is FailureKind.REFUSED else 4
    story = Story().succeeded(*after)
    story.then(ended, at, attempt=attempt, error={"code": code, "message": message, "kind": kind})
    story.compensated(*([at] if unknown else []), *reversed(after)).then(EventType.SAGA_COMPENSATED)
    body: dict[str, Any] = shown(failed(story.view()).body(REQUEST_ID))
    return body


def _stuck() -> Story:
    stuck = Story().succeeded("payment")
    out_of_stock = {"code": "out_of_stock", "message": "TSHIRT-M is out of stock.", "kind": "refused"}
    not_reversible = {
        "code": "not_reversible",
        "message": "The charge can't be refunded any more.",
        "kind": "refused",
    }
    stuck.then(EventType.STEP_FAILED, "inventory", error=out_of_stock)
    stuck.then(EventType.COMPENSATION_FAILED, "payment", error=not_reversible)
    return stuck.then(EventType.SAGA_NEEDS_ATTENTION)


def sagas() -> dict[str, Any]:
    """Return sagas by their status."""
    retried = Story().succeeded("payment")
    retried.then(
        EventType.STEP_RETRIED,
        "inventory",
        error={"code": "unavailable", "message": "The service was not reached.", "kind": "unavailable"},
        outcome="unavailable",
        next_action_at="2026-01-30T09:30:00.140000Z",
    )
    completed = Story().succeeded(*_RESULTS).then(EventType.SAGA_COMPLETED)
    stories = {"completed": completed, "running": retried, "needs_attention": _stuck()}
    return {name: shown(saga_json(story.view())) for name, story in stories.items()}


def operated() -> dict[str, Any]:
    """Return an inactive saga after each of the operator's actions."""
    operator: dict[str, JSON] = {"who": "ada", "reason": "The customer called.", "action": "a1"}
    cancelled = {"code": "cancelled", "message": "An operator cancelled the checkout.", "kind": "cancelled"}
    cancel = Story().succeeded("payment").then(EventType.CANCEL_REQUESTED, **operator)
    cancel.then(EventType.STEP_FAILED, "inventory", attempt=0, error=cancelled).compensated("payment")
    retry = _stuck().then(EventType.RETRY_REQUESTED, **operator).compensated("payment")
    resolve = _stuck().then(EventType.STEP_RESOLVED, "payment", **operator, reference="bank transfer 4711")
    stories = {"cancel": cancel, "retry": retry, "resolve": resolve}
    return {
        name: shown(saga_json(story.then(EventType.SAGA_COMPENSATED).view()))
        for name, story in stories.items()
    }


def plan() -> Any:
    """Return the plan of the example order."""
    return shown(plan_of(Order.of(ORDER, max_items=1), definition()))
