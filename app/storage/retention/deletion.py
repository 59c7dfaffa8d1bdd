"""Deletion of whole sagas, and which of them an endpoint still needs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.engine.tables import (
    outbox,
    retention_later,
    saga,
    saga_log,
    webhook_delivery,
    webhook_endpoint,
)
from app.storage.outbox.feed import FeedCursor, after


async def delete_sagas(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Delete these sagas with their logs, events and deliveries."""
    if not ids:
        return
    names = (await connection.execute(select(webhook_endpoint.c.name))).scalars().all()
    await connection.execute(
        delete(webhook_delivery).where(
            webhook_delivery.c.endpoint.in_(names),  # for its index
            webhook_delivery.c.saga_id.in_(ids),
        )
    )
    for column in (outbox.c.saga_id, saga_log.c.saga_id, retention_later.c.saga_id, saga.c.id):
        await connection.execute(delete(column.table).where(column.in_(ids)))


async def undelivered(connection: AsyncConnection, ids: Sequence[str], endpoints: Sequence[str]) -> set[str]:
    """Return which of these sagas have events still to be delivered to an endpoint, be it disabled or not."""
    if not ids or not endpoints:
        return set()
    query = select(webhook_endpoint.c.xid, webhook_endpoint.c.position).where(
        webhook_endpoint.c.name.in_(endpoints)
    )
    cursors = [FeedCursor(xid=row.xid, position=row.position) for row in await connection.execute(query)]
    held: set[str] = set()
    if cursors:
        ahead = select(outbox.c.saga_id).where(outbox.c.saga_id.in_(ids), or_(*map(after, cursors)))
        held.update((await connection.execute(ahead)).scalars())
    # Read after the cursors, so that it includes what was fanned out meanwhile.
    pending = select(webhook_delivery.c.saga_id).where(
        webhook_delivery.c.endpoint.in_(endpoints),
        webhook_delivery.c.saga_id.in_(ids),
        webhook_delivery.c.status == "pending",
    )
    held.update((await connection.execute(pending)).scalars())
    return held
