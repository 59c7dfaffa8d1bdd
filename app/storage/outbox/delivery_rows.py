"""A delivery, and the row of `webhook_delivery` that it is stored as."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import RowMapping, text

from app.settings.webhook_endpoints import EventName
from app.storage.outbox.feed import OutboxEvent

PENDING = text("webhook_delivery.status = 'pending'")  # to the letter, for the partial index


class DeliveryStatus(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"  # to be sent, now or at its next attempt
    DELIVERED = "delivered"  # acknowledged
    FAILED = "failed"  # abandoned; an operator can redeliver it


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One event for one endpoint."""

    id: int
    endpoint: str
    event: OutboxEvent
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptResult:
    """The outcome of an attempt, and the state of the delivery after it."""

    status: DeliveryStatus
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None


def delivery_of(row: RowMapping) -> Delivery:
    """Return a row of `webhook_delivery` as the delivery that it is."""
    return Delivery(
        id=row["id"],
        endpoint=row["endpoint"],
        event=OutboxEvent(saga_id=row["saga_id"], seq=row["seq"], type=EventName(row["type"]), at=row["at"]),
        status=DeliveryStatus(row["status"]),
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        delivered_at=row["delivered_at"],
        last_status=row["last_status"],
        last_error=row["last_error"],
    )
