"""What the API, the page and the webhooks show of a checkout beside its steps."""

from __future__ import annotations

from typing import Any

from app.saga.ports.log import NewSaga

NO_CURRENCY = "XXX"
"""ISO 4217's code where no currency is involved."""


def subject(saga: NewSaga) -> dict[str, Any]:
    """Return whose order a saga is about, and its amount; also where its stored input is damaged."""
    given = saga.input
    return {
        "order_id": given.get("order_id") or saga.order_id or "",
        "customer_id": given.get("customer_id") or saga.customer_id or "",
        "amount": given.get("amount", 0),
        "currency": given.get("currency", NO_CURRENCY),
    }
