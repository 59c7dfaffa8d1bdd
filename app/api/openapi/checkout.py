"""What `POST /checkout` takes, for the API's description: on the way of every checkout nothing reads it from there."""

from __future__ import annotations

from typing import Any

from app.api.openapi.responses import problems

_IDEMPOTENCY_KEY = (
    '^(?:[\\x21\\x23-\\x7E][\\x21-\\x7E]{0,254}|"(?:[\\x21\\x23-\\x5B\\x5D-\\x7E]|\\\\["\\\\]){1,255}")$'
)
"""Bare, or in double quotes."""

_DRY_RUN = {
    "name": "dry_run",
    "in": "query",
    "required": False,
    "description": "Validate, answer with the plan, do nothing.",
    "schema": {"type": "boolean"},
}
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Idempotency-Key": (
        "A new value for each checkout, the same in each repeat: a repeat never charges twice.",
        {"type": "string", "pattern": _IDEMPOTENCY_KEY},
    ),
    "X-Simulate": (
        "Sandbox only: faults on demand, as service.action=fault[:times].",
        {
            "type": "string",
            "examples": ["shipping.execute=timeout_after_effect, payment.compensate=unavailable:2"],
        },
    ),
    "traceparent": ("W3C Trace Context; the saga's own trace continues it.", {"type": "string"}),
}
"""Its own headers: what each means, and its schema."""

CHECKOUT: dict[str, Any] = {
    **problems(
        "idempotency_key_required",
        "invalid_idempotency_key",
        "bad_simulation",
        "simulation_unavailable",
        "invalid_request",
        "invalid_dry_run",
        "idempotency_key_reused",
        "checkout_in_progress",
        "order_in_checkout",
        "order_already_checked_out",
        "rate_limited",
        "over_capacity",
        "shutting_down",
        "payment_declined",
        "inventory_refused",
        "shipping_refused",
        "unusable_answer",
        "service_unavailable",
        "service_timeout",
        "deadline_exceeded",
    ),
    "parameters": [
        *({"$ref": f"#/components/parameters/{name}"} for name in (*HEADERS, "Prefer")),
        _DRY_RUN,
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}},
    },
}
