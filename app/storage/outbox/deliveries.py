"""Webhook deliveries: a row for each event and endpoint, claimed for a short lease by any replica.

fan out    the events after the endpoint's cursor ──▶ one pending delivery each, and the cursor moves on
claim      the deliveries that are due, unless an earlier event of the saga is pending ──▶ ours until the lease ends
result     delivered, failed, or pending until the next attempt

No transaction is open between a claim and its result. After a crash this or another replica retries the
delivery: at least once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, exists, or_, select, update

from app.saga.model.errors import LogUnavailable
from app.settings.webhook_endpoints import Endpoint, Lag
from app.storage.engine.faults import Blame, blame_of
from app.storage.engine.tables import webhook_delivery, webhook_endpoint
from app.storage.engine.translation import repeats
from app.storage.outbox.delivery_rows import PENDING, AttemptResult, Delivery, DeliveryStatus, delivery_of
from app.storage.outbox.endpoint_status import EndpointStatus, lag_of, status_of
from app.storage.outbox.fan_out import cursor_of, enabled, fan_out, insert_for
from app.storage.outbox.feed import KNOWN, current_position, feed
from app.storage.sagas.sql_log import SqlLog


class SqlDeliveries:
    """The deliveries on a database. Every method may raise `LogUnavailable`."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    @repeats
    async def register(self, names: Sequence[str], *, now: datetime) -> None:
        """Register the endpoints that aren't yet; they get the events from now on."""
        if not names:
            return
        async with self._log.reading() as connection:
            known = set((await connection.execute(select(webhook_endpoint.c.name))).scalars())
        new = [name for name in names if name not in known]
        if not new:
            return
        async with self._log.writing() as connection:
            cursor = await current_position(connection)
            row = {"state": "enabled", "changed_at": now, "xid": cursor.xid, "position": cursor.position}
            rows = [{"name": name, **row} for name in new]
            await connection.execute(
                insert_for(connection)(webhook_endpoint).values(rows).on_conflict_do_nothing()
            )

    async def has_work(self, endpoint: Endpoint, *, now: datetime) -> bool:
        """Whether there is anything to fan out or to send."""
        async with self._log.reading() as connection:
            cursor = await cursor_of(connection, endpoint.name)
            if cursor is None:
                return False
            if await feed(connection, cursor, limit=1):
                return True
            return (await connection.execute(_due(endpoint.name, now).limit(1))).first() is not None

    @repeats
    async def fan_out(self, endpoint: Endpoint) -> int:
        """Make deliveries of the events that the feed has for an endpoint; return how many events were read.

        Where another replica is doing so already, this does nothing.
        """
        async with self._log.writing() as connection:
            return await fan_out(connection, endpoint)

    @repeats
    async def claim(
        self, endpoint: Endpoint, *, owner: str, now: datetime, seconds: float, limit: int
    ) -> list[Delivery]:
        """Take at most `limit` due deliveries for `seconds`, oldest first; each counts an attempt.

        An event waits while an earlier one of its saga is pending for this endpoint.
        """
        async with self._log.writing() as connection:
            query = _due(endpoint.name, now).limit(limit).with_for_update(skip_locked=True)
            ids = (await connection.execute(query)).scalars().all()
            if not ids:
                return []
            await connection.execute(
                update(webhook_delivery)
                .where(webhook_delivery.c.id.in_(ids))
                .values(
                    attempts=webhook_delivery.c.attempts + 1,
                    claimed_by=owner,
                    claimed_until=now + timedelta(seconds=seconds),
                )
            )
            claimed = select(webhook_delivery).where(webhook_delivery.c.id.in_(ids))
            rows = (await connection.execute(claimed.order_by(webhook_delivery.c.id))).mappings().all()
        return [delivery_of(row) for row in rows]

    async def record_results(self, results: Sequence[tuple[Delivery, AttemptResult]], *, owner: str) -> None:
        """Store the results of claimed deliveries, except of those that another process has claimed since."""
        if not results:
            return
        try:
            await self._record_results(results, owner=owner)
        except LogUnavailable as error:
            if blame_of(error) is not Blame.ENTRY:
                raise
            for delivery, result in results:  # one bad result must not cause the others to be delivered again
                with contextlib.suppress(LogUnavailable):
                    await self._record_results([(delivery, result)], owner=owner)

    @repeats
    async def _record_results(self, results: Sequence[tuple[Delivery, AttemptResult]], *, owner: str) -> None:
        async with self._log.writing() as connection:
            for delivery, result in results:
                await connection.execute(
                    update(webhook_delivery)
                    .where(
                        webhook_delivery.c.id == delivery.id,
                        webhook_delivery.c.claimed_by == owner,
                        webhook_delivery.c.attempts == delivery.attempts,
                        webhook_delivery.c.status == DeliveryStatus.PENDING.value,
                    )
                    .values(
                        status=result.status.value,
                        next_attempt_at=result.next_attempt_at,
                        delivered_at=result.delivered_at,
                        last_status=result.last_status,
                        last_error=result.last_error and storable_text(result.last_error),
                        claimed_by=None,
                        claimed_until=None,
                    )
                )

    @repeats
    async def release(self, owner: str) -> None:
        """Give back the deliveries that were claimed and have no result, so that other replicas send them at once."""
        async with self._log.writing() as connection:
            await connection.execute(
                update(webhook_delivery)
                .where(PENDING, webhook_delivery.c.claimed_by == owner)
                .values(claimed_by=None, claimed_until=None)
            )

    @repeats
    async def disable(self, name: str, *, reason: str, now: datetime) -> None:
        """Send an endpoint nothing more, and keep its events, until an operator enables it."""
        async with self._log.writing() as connection:
            await connection.execute(
                update(webhook_endpoint)
                .where(webhook_endpoint.c.name == name, webhook_endpoint.c.state == "enabled")
                .values(state="disabled", reason=reason, changed_at=now)
            )

    @repeats
    async def enable(self, name: str, *, now: datetime) -> None:
        """Resume an endpoint where it was disabled; its waiting deliveries are due at once."""
        async with self._log.writing() as connection:
            await connection.execute(
                update(webhook_endpoint)
                .where(webhook_endpoint.c.name == name, webhook_endpoint.c.state == "disabled")
                .values(state="enabled", reason=None, changed_at=now)
            )
            await connection.execute(
                update(webhook_delivery)
                .where(PENDING, webhook_delivery.c.endpoint == name, webhook_delivery.c.next_attempt_at > now)
                .values(next_attempt_at=now)
            )

    @repeats
    async def redeliver(self, delivery_id: int, *, now: datetime) -> Delivery | None:
        """Make a delivery due at once, with a new budget of attempts; None where there is none."""
        async with self._log.writing() as connection:
            await connection.execute(
                update(webhook_delivery)
                .where(webhook_delivery.c.id == delivery_id)
                .values(
                    status=DeliveryStatus.PENDING.value,
                    attempts=0,
                    next_attempt_at=now,
                    delivered_at=None,
                    claimed_by=None,
                    claimed_until=None,
                )
            )
            query = select(webhook_delivery).where(webhook_delivery.c.id == delivery_id)
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else delivery_of(row)

    async def list_deliveries(
        self, *, status: DeliveryStatus | None, endpoint: str | None, before: int | None, limit: int
    ) -> list[Delivery]:
        """Return deliveries, the newest first, with an id below `before`."""
        query = select(webhook_delivery).where(webhook_delivery.c.type.in_(KNOWN))
        query = query.order_by(webhook_delivery.c.id.desc()).limit(limit)
        if status is not None:
            query = query.where(webhook_delivery.c.status == status.value)
        if endpoint is not None:
            query = query.where(webhook_delivery.c.endpoint == endpoint)
        if before is not None:
            query = query.where(webhook_delivery.c.id < before)
        async with self._log.reading() as connection:
            return [delivery_of(row) for row in (await connection.execute(query)).mappings()]

    async def statuses(self, endpoints: Sequence[Endpoint]) -> list[EndpointStatus]:
        """Return the state of each endpoint that is registered."""
        async with self._log.reading() as connection:
            found = [await status_of(connection, endpoint) for endpoint in endpoints]
        return [one for one in found if one is not None]

    async def lags(self, endpoints: Sequence[Endpoint], *, now: datetime) -> list[Lag]:
        """Return how far behind each endpoint is that is registered; its cost doesn't grow with the backlog."""
        async with self._log.reading() as connection:
            found = [await lag_of(connection, endpoint, now) for endpoint in endpoints]
        return [one for one in found if one is not None]


def storable_text(text: str) -> str:
    """Return a text as a database takes it: without NUL and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _due(name: str, now: datetime) -> Select[Any]:
    """Return the query of an enabled endpoint's deliveries that are due and not claimed, the longest due first."""
    earlier = webhook_delivery.alias("earlier")
    held_back = exists().where(
        earlier.c.endpoint == webhook_delivery.c.endpoint,
        earlier.c.saga_id == webhook_delivery.c.saga_id,
        earlier.c.seq < webhook_delivery.c.seq,
        earlier.c.status == DeliveryStatus.PENDING.value,
    )
    return (
        select(webhook_delivery.c.id)
        .where(
            PENDING,
            webhook_delivery.c.endpoint == name,
            webhook_delivery.c.type.in_(KNOWN),
            webhook_delivery.c.next_attempt_at <= now,
            or_(webhook_delivery.c.claimed_until.is_(None), webhook_delivery.c.claimed_until <= now),
            ~held_back,
            exists().where(enabled(name)),
        )
        .order_by(webhook_delivery.c.next_attempt_at, webhook_delivery.c.id)
    )
