"""Examples for the API's documentation: sagas told by events, shown by the very code that shows real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.api.http.card_number_check import refuse_card_numbers
from app.api.http.json_encoding import encode
from app.api.http.query import wrong
from app.api.problems.problem import Problem
from app.api.problems.validation import NO_SAGA, complaint, invalid
from app.api.schemas.order import Order
from app.api.schemas.outcome import failed, saga_url
from app.api.schemas.plan import plan_of
from app.api.schemas.saga_body import saga_body
from app.checkout.definition import checkout_saga
from app.operations.saga_view import SagaView
from app.saga.model.definition import SagaDefinition
from app.saga.model.errors import FailureKind
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.fold import fold
from app.saga.model.step import JSON, Context
from app.saga.ports.log import NewSaga
from app.settings.webhook_endpoints import EventName

REQUEST_ID = "5f0c3b1e-6a52-4b0e-9d0a-3c6f1a2b4d5e"
SAGA_ID = "019c0b7e-5f00-7a31-8c22-5b0d9e4f7a10"
_EVENT_ID = f"evt_{SAGA_ID.replace('-', '')}_5"
_BEGAN = datetime(2026, 1, 30, 9, 30, tzinfo=UTC)

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
_UNDONE: Mapping[str, dict[str, JSON]] = {
    "payment": {"refund_id": "ref_01", "status": "refunded"},
    "inventory": {"status": "released"},
    "shipping": {"status": "cancelled"},
}
_WORDS: Mapping[str, tuple[str, str]] = {
    "payment": ("Charge", "Refund or void"),
    "inventory": ("Reserve all items or none", "Put the items back"),
    "shipping": ("Book a shipment", "Cancel the shipment"),
}


class _Named:
    """A step that is only talked about."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.execute, self.compensate = (_talk(words) for words in _WORDS[name])


def _talk(words: str) -> Callable[[Context], Coroutine[Any, Any, None]]:
    async def action(_: Context) -> None:
        """Do nothing."""

    action.__doc__ = words
    return action


def _definition() -> SagaDefinition:
    payment, inventory, shipping = (_Named(name) for name in _RESULTS)
    return checkout_saga(payment=payment, inventory=inventory, shipping=shipping)


class _Story:
    """Tells a saga event by event, 20 ms apart."""

    def __init__(self) -> None:
        self._events: list[SagaEvent] = []
        self.then(EventType.SAGA_STARTED)

    def then(self, event: EventType, step: str | None = None, *, attempt: int = 1, **data: JSON) -> _Story:
        at = _BEGAN + timedelta(milliseconds=20 * len(self._events))
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

    def succeeded(self, *steps: str) -> _Story:
        for step in steps:
            self.then(EventType.STEP_SUCCEEDED, step, result=_RESULTS[step])
        return self

    def undone(self, *steps: str) -> _Story:
        for step in steps:
            self.then(EventType.STEP_COMPENSATED, step, result=_UNDONE[step])
        return self

    def view(self) -> SagaView:
        given = Order.of(ORDER, max_items=1).saga_input()
        saga = NewSaga(id=SAGA_ID, definition="checkout", version=1, input=given, request_id=REQUEST_ID)
        state = fold(_definition(), self._events)
        view = SagaView(saga=saga, state=state, events=tuple(self._events), next_action_at=None)
        if view.inactive:
            return view
        due = state.next_action_at or _BEGAN + timedelta(seconds=10)
        return SagaView(saga=saga, state=state, events=view.events, next_action_at=due)


def _shown(body: object) -> Any:
    return json.loads(encode(body))


def _failed(code: str, message: str, kind: FailureKind, *, after: tuple[str, ...], at: str) -> dict[str, Any]:
    """Return the problem of a checkout whose step `at` was given up after the others had succeeded."""
    unknown = kind in {FailureKind.TIMEOUT, FailureKind.UNUSABLE}
    given_up = EventType.STEP_UNKNOWN if unknown else EventType.STEP_FAILED
    attempt = 1 if kind is FailureKind.REFUSED else 4
    story = _Story().succeeded(*after)
    story.then(given_up, at, attempt=attempt, error={"code": code, "message": message, "kind": kind})
    story.undone(*([at] if unknown else []), *reversed(after)).then(EventType.SAGA_COMPENSATED)
    body: dict[str, Any] = _shown(failed(story.view()).body(REQUEST_ID))
    return body


def _stuck() -> _Story:
    stuck = _Story().succeeded("payment")
    out_of_stock = {"code": "out_of_stock", "message": "TSHIRT-M is out of stock.", "kind": "refused"}
    not_reversible = {"code": "not_reversible", "message": "The charge can't be undone.", "kind": "refused"}
    stuck.then(EventType.STEP_FAILED, "inventory", error=out_of_stock)
    stuck.then(EventType.COMPENSATION_FAILED, "payment", error=not_reversible)
    return stuck.then(EventType.SAGA_NEEDS_ATTENTION)


def sagas() -> dict[str, Any]:
    """Return sagas by how they stand."""
    retried = _Story().succeeded("payment")
    retried.then(
        EventType.STEP_RETRIED,
        "inventory",
        error={"code": "unavailable", "message": "The service was not reached.", "kind": "unavailable"},
        outcome="unavailable",
        next_action_at="2026-01-30T09:30:00.140000Z",
    )
    completed = _Story().succeeded(*_RESULTS).then(EventType.SAGA_COMPLETED)
    told = {"completed": completed, "running": retried, "needs_attention": _stuck()}
    return {name: _shown(saga_body(story.view())) for name, story in told.items()}


def operated() -> dict[str, Any]:
    """Return a saga that rests after each of the operator's actions."""
    person: dict[str, JSON] = {"who": "ada", "reason": "The customer called.", "action": "a1"}
    cancelled = {"code": "cancelled", "message": "An operator cancelled the checkout.", "kind": "cancelled"}
    cancel = _Story().succeeded("payment").then(EventType.CANCEL_REQUESTED, **person)
    cancel.then(EventType.STEP_FAILED, "inventory", attempt=0, error=cancelled).undone("payment")
    retry = _stuck().then(EventType.RETRY_REQUESTED, **person).undone("payment")
    resolve = _stuck().then(EventType.STEP_RESOLVED, "payment", **person, reference="bank transfer 4711")
    told = {"cancel": cancel, "retry": retry, "resolve": resolve}
    return {
        name: _shown(saga_body(story.then(EventType.SAGA_COMPENSATED).view())) for name, story in told.items()
    }


def plan() -> Any:
    """Return the plan of the example order."""
    return _shown(plan_of(Order.of(ORDER, max_items=1), _definition()))


def problems() -> dict[str, dict[str, Any]]:
    """Return an example of each problem that has more to it than its row of the table."""
    refused, both = FailureKind.REFUSED, ("payment", "inventory")
    url = {"saga_url": saga_url(SAGA_ID)}
    mended = complaint(
        "/items/0/quantity",
        "not_an_integer",
        "Give an integer: no quotes, no decimal point, not true or false.",
    )
    examples = {
        "invalid_request": invalid([mended], outcome=NO_SAGA),
        "invalid_operation": invalid([complaint("/reason", "missing", "Add this member.")]),
        "invalid_dry_run": wrong("dry_run", "wrong_form", "Give true or false.", outcome=NO_SAGA),
        "invalid_empty": invalid([complaint("", "unknown_member", "Send an empty object: {}.")]),
        "invalid_key": invalid([complaint("/scopes", "missing", "Add this member.")]),
        "invalid_query": wrong("cursr", "unknown_parameter", "Remove this parameter, or mend its name."),
        "card_number_refused": _card_as_payment_method(),
        "checkout_in_progress": Problem("checkout_in_progress", members=url),
        "order_in_checkout": Problem("order_in_checkout", members=url),
        "order_already_checked_out": Problem("order_already_checked_out", members=url),
    }
    return {name: _shown(problem.body(REQUEST_ID)) for name, problem in examples.items()} | {
        "payment_declined": _failed(
            "card_declined", "The card was declined.", refused, after=(), at="payment"
        ),
        "inventory_refused": _failed(
            "out_of_stock", "TSHIRT-M is out of stock.", refused, after=("payment",), at="inventory"
        ),
        "shipping_refused": _failed(
            "address_unserviceable", "No carrier serves the address.", refused, after=both, at="shipping"
        ),
        "unusable_answer": _failed(
            "unusable_answer", "The service answered 500.", FailureKind.UNUSABLE, after=both, at="shipping"
        ),
        "service_unavailable": _failed(
            "unavailable",
            "The service was not reached.",
            FailureKind.UNAVAILABLE,
            after=("payment",),
            at="inventory",
        ),
        "service_timeout": _failed(
            "timeout", "No answer within 5 s.", FailureKind.TIMEOUT, after=(), at="payment"
        ),
        "deadline_exceeded": _failed(
            "deadline_exceeded",
            "The whole checkout took longer than its deadline.",
            FailureKind.DEADLINE,
            after=("payment",),
            at="inventory",
        ),
    }


def _card_as_payment_method() -> Problem:
    try:
        refuse_card_numbers({"payment_method": "4242 4242 4242 4242"})
    except Problem as refused:
        return refused
    raise AssertionError("This is a card number.")


def webhook(event: EventName) -> dict[str, Any]:
    """Return the example of what an endpoint is sent of an event."""
    ended = {
        EventName.COMPLETED: sagas()["completed"],
        EventName.COMPENSATED: problems()["shipping_refused"]["saga"],
        EventName.NEEDS_ATTENTION: sagas()["needs_attention"],
    }
    return {"type": event.value, "timestamp": ended[event]["updated_at"], "data": ended[event]}


def events() -> dict[str, Any]:
    """Return the example of a feed with one event."""
    return {
        "data": [
            {
                "id": _EVENT_ID,
                "type": "checkout.completed",
                "timestamp": "2026-01-30T09:30:00.080000Z",
                "data": sagas()["completed"],
            }
        ],
        "next": "AAAAAAAAAukAAAAAAAAAAQ",
        "more": False,
    }


def endpoint() -> dict[str, Any]:
    """Return the example of an endpoint."""
    return {
        "name": "shop",
        "url": "https://shop.example/hooks",
        "enabled": True,
        "reason": None,
        "changed_at": "2026-01-30T09:00:00.000000Z",
        "events": ["checkout.compensated", "checkout.completed", "checkout.needs_attention"],
        "callers": None,
        "waiting": 1,
        "failed": 0,
        "oldest_waiting_at": "2026-01-30T09:30:00.080000Z",
        "lag_seconds": 0.4,
    }


def delivery() -> dict[str, Any]:
    """Return the example of a delivery."""
    return {
        "id": 17,
        "endpoint": "shop",
        "event_id": _EVENT_ID,
        "type": "checkout.completed",
        "saga_url": saga_url(SAGA_ID),
        "timestamp": "2026-01-30T09:30:00.080000Z",
        "status": "pending",
        "attempts": 1,
        "next_attempt_at": "2026-01-30T09:30:05.120000Z",
        "delivered_at": None,
        "last_status": 503,
        "last_error": "The receiver answered 503.",
    }


def problem(name: str) -> dict[str, Any]:
    """Return the example of a problem that its row of the table says all about."""
    body: dict[str, Any] = _shown(Problem(name).body(REQUEST_ID))
    return body
