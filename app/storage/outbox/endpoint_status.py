"""The state of a webhook endpoint: whether it is enabled, what waits for it, and how far behind it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.settings.webhook_endpoints import Endpoint, Lag
from app.storage.engine.tables import outbox, webhook_delivery, webhook_endpoint
from app.storage.outbox.delivery_rows import PENDING, DeliveryStatus
from app.storage.outbox.feed import FeedCursor, after


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointStatus:
    """The state of an endpoint. `waiting` counts the events that are still to be delivered to it."""

    name: str
    enabled: bool
    reason: str | None
    changed_at: datetime
    waiting: int
    failed: int
    oldest_waiting_at: datetime | None


async def lag_of(connection: AsyncConnection, endpoint: Endpoint, now: datetime) -> Lag | None:
    """Return how far behind an endpoint is, None for one that isn't registered; its cost doesn't grow with the backlog.

    Deliveries are made in the feed's order, so the lowest id that is pending is the oldest event.
    """
    known = select(webhook_endpoint).where(webhook_endpoint.c.name == endpoint.name)
    row = (await connection.execute(known)).mappings().first()
    if row is None:
        return None
    pending = select(webhook_delivery.c.at).where(PENDING, webhook_delivery.c.endpoint == endpoint.name)
    oldest = (await connection.execute(pending.order_by(webhook_delivery.c.id).limit(1))).scalar()
    if oldest is None:
        ahead = _ahead(endpoint, FeedCursor(xid=row["xid"], position=row["position"]), outbox.c.at)
        in_order = ahead.order_by(outbox.c.xid, outbox.c.position).limit(1)
        oldest = (await connection.execute(in_order)).scalar()
    seconds = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return Lag(endpoint=endpoint.name, enabled=row["state"] == "enabled", seconds=seconds)


def _ahead(endpoint: Endpoint, cursor: FeedCursor, *columns: ColumnElement[Any]) -> Select[Any]:
    """Return the query of an endpoint's events that are not fanned out yet."""
    ahead = select(*columns).where(after(cursor), outbox.c.type.in_([one.value for one in endpoint.events]))
    return ahead if endpoint.callers is None else ahead.where(outbox.c.caller.in_(endpoint.callers))


async def status_of(connection: AsyncConnection, endpoint: Endpoint) -> EndpointStatus | None:
    """Return the state of an endpoint, None for one that isn't registered."""
    query = select(webhook_endpoint).where(webhook_endpoint.c.name == endpoint.name)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    mine = webhook_delivery.c.endpoint == endpoint.name
    pending = select(func.count(), func.min(webhook_delivery.c.at)).where(PENDING, mine)
    count, oldest = (await connection.execute(pending)).one()
    cursor = FeedCursor(xid=row["xid"], position=row["position"])
    ahead = _ahead(endpoint, cursor, func.count(), func.min(outbox.c.at))
    more, oldest_ahead = (await connection.execute(ahead)).one()
    failed = select(func.count()).where(
        webhook_delivery.c.status == DeliveryStatus.FAILED.value, webhook_delivery.c.endpoint == endpoint.name
    )
    return EndpointStatus(
        name=endpoint.name,
        enabled=row["state"] == "enabled",
        reason=row["reason"],
        changed_at=row["changed_at"],
        waiting=count + more,
        failed=(await connection.execute(failed)).scalar_one(),
        oldest_waiting_at=min(filter(None, (oldest, oldest_ahead)), default=None),
    )
