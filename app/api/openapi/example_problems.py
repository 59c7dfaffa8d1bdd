"""Examples of the problems, for the API's description."""

from __future__ import annotations

from typing import Any

from app.api.http.card_number_check import refuse_card_numbers
from app.api.openapi.example_sagas import REQUEST_ID, SAGA_ID, failed_body, shown
from app.api.problems.problem import Problem
from app.api.problems.validation import NO_SAGA, field_error, invalid, parameter_problem
from app.api.schemas.outcome import saga_url
from app.saga.model.errors import FailureKind

FAILURES = (
    "payment_declined",
    "inventory_refused",
    "shipping_refused",
    "unusable_answer",
    "service_unavailable",
    "service_timeout",
    "deadline_exceeded",
)
"""How a checkout fails; the problem has its saga."""


def problems() -> dict[str, dict[str, Any]]:
    """Return an example of each problem that has more to it than its row of the table."""
    refused, both = FailureKind.REFUSED, ("payment", "inventory")
    url = {"saga_url": saga_url(SAGA_ID)}
    quantity = field_error(
        "/items/0/quantity",
        "not_an_integer",
        "Give an integer: no quotes, no decimal point, not true or false.",
    )
    examples = {
        "invalid_request": invalid([quantity], outcome=NO_SAGA),
        "invalid_operation": invalid([field_error("/reason", "missing", "Add this member.")]),
        "invalid_dry_run": parameter_problem("dry_run", "wrong_form", "Give true or false.", outcome=NO_SAGA),
        "invalid_empty": invalid([field_error("", "unknown_member", "Send an empty object: {}.")]),
        "invalid_key": invalid([field_error("/scopes", "missing", "Add this member.")]),
        "invalid_query": parameter_problem(
            "cursr", "unknown_parameter", "Remove this parameter, or fix its name."
        ),
        "card_number_refused": _card_as_payment_method(),
        "checkout_in_progress": Problem("checkout_in_progress", members=url),
        "order_in_checkout": Problem("order_in_checkout", members=url),
        "order_already_checked_out": Problem("order_already_checked_out", members=url),
    }
    return {name: shown(problem.body(REQUEST_ID)) for name, problem in examples.items()} | {
        "payment_declined": failed_body(
            "card_declined", "The card was declined.", refused, after=(), at="payment"
        ),
        "inventory_refused": failed_body(
            "out_of_stock", "TSHIRT-M is out of stock.", refused, after=("payment",), at="inventory"
        ),
        "shipping_refused": failed_body(
            "address_unserviceable", "No carrier serves the address.", refused, after=both, at="shipping"
        ),
        "unusable_answer": failed_body(
            "unusable_answer", "The service answered 500.", FailureKind.UNUSABLE, after=both, at="shipping"
        ),
        "service_unavailable": failed_body(
            "unavailable",
            "The service was not reached.",
            FailureKind.UNAVAILABLE,
            after=("payment",),
            at="inventory",
        ),
        "service_timeout": failed_body(
            "timeout", "No answer within 5 s.", FailureKind.TIMEOUT, after=(), at="payment"
        ),
        "deadline_exceeded": failed_body(
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


def problem(name: str) -> dict[str, Any]:
    """Return the example of a problem that its row of the table says all about."""
    body: dict[str, Any] = shown(Problem(name).body(REQUEST_ID))
    return body
