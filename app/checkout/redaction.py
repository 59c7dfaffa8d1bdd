"""What is kept of a finished checkout once its customer's data is removed."""

from __future__ import annotations

from app.storage.retention.redaction import Redaction

CHECKOUT_REDACTION = Redaction(
    kept_input=("order_id", "amount", "currency"),
    kept_results=frozenset(
        {
            "payment_id",
            "reservation_id",
            "shipment_id",
            "amount",
            "currency",
            "status",
            "carrier",
            "refund_id",
        }
    ),
)
