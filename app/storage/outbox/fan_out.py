"""Fan-out: each event of the feed becomes one pending delivery for each endpoint that wants it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.settings.webhook_endpoints import Endpoint
from app.storage.engine.tables import webhook_delivery, webhook_endpoint
from app.storage.outbox.delivery_rows import DeliveryStatus
from app.storage.outbox.feed import FeedCursor, FeedEvent, OutboxEvent, feed

FAN_OUT_AT_ONCE = 500


async def fan_out(connection: AsyncConnection, endpoint: Endpoint) -> int:
    """Insert an endpoint's deliveries and move its cursor; return how many events were read."""
    cursor = await cursor_of(connection, endpoint.name, lock=True)
    if cursor is None:
        return 0
    events = await feed(connection, cursor, limit=FAN_OUT_AT_ONCE)
    if not events:
        return 0
    rows = [_new(endpoint.name, one.event) for one in events if _wanted(endpoint, one)]
    if rows:
        insert = insert_for(connection)(webhook_delivery).on_conflict_do_nothing()
        await connection.execute(insert, rows)
    last = events[-1].cursor
    await connection.execute(
        update(webhook_endpoint)
        .where(webhook_endpoint.c.name == endpoint.name)
        .values(xid=last.xid, position=last.position)
    )
    return len(events)


async def cursor_of(connection: AsyncConnection, name: str, *, lock: bool = False) -> FeedCursor | None:
    """Return up to where an enabled endpoint's events are fanned out; None where it is disabled or locked."""
    query = select(webhook_endpoint.c.xid, webhook_endpoint.c.position).where(enabled(name))
    if lock:
        query = query.with_for_update(skip_locked=True)
    row = (await connection.execute(query)).first()
    return None if row is None else FeedCursor(xid=row.xid, position=row.position)


def enabled(name: str) -> ColumnElement[bool]:
    """Return the condition that a row of `webhook_endpoint` is this one, and enabled."""
    return and_(webhook_endpoint.c.name == name, webhook_endpoint.c.state == "enabled")


def insert_for(connection: AsyncConnection) -> Any:
    """Return the `insert` of a connection's database, which knows ON CONFLICT."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert


def _wanted(endpoint: Endpoint, one: FeedEvent) -> bool:
    return one.event.type in endpoint.events and (endpoint.callers is None or one.caller in endpoint.callers)


def _new(name: str, event: OutboxEvent) -> dict[str, Any]:
    return {
        "endpoint": name,
        "status": DeliveryStatus.PENDING.value,
        "saga_id": event.saga_id,
        "seq": event.seq,
        "type": event.type.value,
        "at": event.at,
        "attempts": 0,
        "next_attempt_at": event.at,
    }
