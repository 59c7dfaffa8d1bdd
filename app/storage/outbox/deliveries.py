"""Who was told of what: a row for each event and endpoint, claimed for a short lease by any replica.

fan out    the feed behind the endpoint's place ──▶ one pending delivery each, and the place moves on
claim      what is due, and no earlier event of its saga is pending ──▶ ours until the lease ends
settle     delivered, failed, or pending until its next attempt

No transaction is open between a claim and its settling. Who was killed in between delivers again, or
another does: at least once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, exists, func, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.model.errors import LogUnavailable
from app.settings.webhook_endpoints import Endpoint, EventName, Lag
from app.storage.engine.faults import Blame, blame_of
from app.storage.engine.tables import outbox, webhook_delivery, webhook_endpoint
from app.storage.engine.translation import repeats
from app.storage.outbox.feed import KNOWN, FeedCursor, FeedEvent, OutboxEvent, behind, end_of_feed, feed
from app.storage.sagas.sql_log import SqlLog

FAN_OUT_AT_ONCE = 500

_PENDING = text("webhook_delivery.status = 'pending'")  # to the letter, for the partial index


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  # to be sent, now or at its next attempt
    DELIVERED = "delivered"  # acknowledged
    FAILED = "failed"  # given up; a person may have it sent again


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
    """What became of an attempt."""

    status: DeliveryStatus
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointStatus:
    """How an endpoint stands. `waiting` counts what is still to be delivered to it."""

    name: str
    enabled: bool
    reason: str | None
    changed_at: datetime
    waiting: int
    failed: int
    oldest_waiting_at: datetime | None


class SqlDeliveries:
    """The deliveries on a database. Every method may raise `LogUnavailable`."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    @repeats
    async def register(self, names: Sequence[str], *, now: datetime) -> None:
        """Make endpoints known that aren't; they are sent what happens from now on."""
        if not names:
            return
        async with self._log.reading() as connection:
            known = set((await connection.execute(select(webhook_endpoint.c.name))).scalars())
        new = [name for name in names if name not in known]
        if not new:
            return
        async with self._log.writing() as connection:
            place = await end_of_feed(connection)
            row = {"state": "enabled", "changed_at": now, "xid": place.xid, "position": place.position}
            rows = [{"name": name, **row} for name in new]
            await connection.execute(
                _insert(connection)(webhook_endpoint).values(rows).on_conflict_do_nothing()
            )

    async def has_work(self, endpoint: Endpoint, *, now: datetime) -> bool:
        """Whether there is anything to fan out or to send."""
        async with self._log.reading() as connection:
            place = await _place(connection, endpoint.name)
            if place is None:
                return False
            if await feed(connection, place, limit=1):
                return True
            return (await connection.execute(_due(endpoint.name, now).limit(1))).first() is not None

    @repeats
    async def fan_out(self, endpoint: Endpoint) -> int:
        """Make deliveries of what the feed has for an endpoint; return how many events were looked at.

        Where another replica is about it already, this does nothing.
        """
        async with self._log.writing() as connection:
            place = await _place(connection, endpoint.name, lock=True)
            if place is None:
                return 0
            events = await feed(connection, place, limit=FAN_OUT_AT_ONCE)
            if not events:
                return 0
            rows = [_new(endpoint.name, one.event) for one in events if _wanted(endpoint, one)]
            if rows:
                insert = _insert(connection)(webhook_delivery).on_conflict_do_nothing()
                await connection.execute(insert, rows)
            last = events[-1].place
            await connection.execute(
                update(webhook_endpoint)
                .where(webhook_endpoint.c.name == endpoint.name)
                .values(xid=last.xid, position=last.position)
            )
        return len(events)

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
        return [_delivery(row) for row in rows]

    async def record_results(self, results: Sequence[tuple[Delivery, AttemptResult]], *, owner: str) -> None:
        """Store the results of claimed deliveries, except of those that another process has claimed since."""
        if not results:
            return
        try:
            await self._record_results(results, owner=owner)
        except LogUnavailable as error:
            if blame_of(error) is not Blame.ENTRY:
                raise
            for delivery, how in results:  # one bad result must not cause the others to be delivered again
                with contextlib.suppress(LogUnavailable):
                    await self._record_results([(delivery, how)], owner=owner)

    @repeats
    async def _record_results(self, results: Sequence[tuple[Delivery, AttemptResult]], *, owner: str) -> None:
        async with self._log.writing() as connection:
            for delivery, how in results:
                await connection.execute(
                    update(webhook_delivery)
                    .where(
                        webhook_delivery.c.id == delivery.id,
                        webhook_delivery.c.claimed_by == owner,
                        webhook_delivery.c.attempts == delivery.attempts,
                        webhook_delivery.c.status == DeliveryStatus.PENDING.value,
                    )
                    .values(
                        status=how.status.value,
                        next_attempt_at=how.next_attempt_at,
                        delivered_at=how.delivered_at,
                        last_status=how.last_status,
                        last_error=how.last_error and storable_text(how.last_error),
                        claimed_by=None,
                        claimed_until=None,
                    )
                )

    @repeats
    async def release(self, owner: str) -> None:
        """Give back what was claimed and not settled, so that others send it at once."""
        async with self._log.writing() as connection:
            await connection.execute(
                update(webhook_delivery)
                .where(_PENDING, webhook_delivery.c.claimed_by == owner)
                .values(claimed_by=None, claimed_until=None)
            )

    @repeats
    async def disable(self, name: str, *, reason: str, now: datetime) -> None:
        """Send an endpoint nothing more, and keep what it isn't sent, until a person enables it."""
        async with self._log.writing() as connection:
            await connection.execute(
                update(webhook_endpoint)
                .where(webhook_endpoint.c.name == name, webhook_endpoint.c.state == "enabled")
                .values(state="disabled", reason=reason, changed_at=now)
            )

    @repeats
    async def enable(self, name: str, *, now: datetime) -> None:
        """Send an endpoint everything again from where it was left; what waits is due at once."""
        async with self._log.writing() as connection:
            await connection.execute(
                update(webhook_endpoint)
                .where(webhook_endpoint.c.name == name, webhook_endpoint.c.state == "disabled")
                .values(state="enabled", reason=None, changed_at=now)
            )
            await connection.execute(
                update(webhook_delivery)
                .where(
                    _PENDING, webhook_delivery.c.endpoint == name, webhook_delivery.c.next_attempt_at > now
                )
                .values(next_attempt_at=now)
            )

    @repeats
    async def redeliver(self, delivery_id: int, *, now: datetime) -> Delivery | None:
        """Have a delivery sent again, at once and with a new budget; None where there is none."""
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
        return None if row is None else _delivery(row)

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
            return [_delivery(row) for row in (await connection.execute(query)).mappings()]

    async def standings(self, endpoints: Sequence[Endpoint]) -> list[EndpointStatus]:
        """Return how each endpoint stands that is known."""
        async with self._log.reading() as connection:
            return [
                standing
                for endpoint in endpoints
                if (standing := await _standing(connection, endpoint)) is not None
            ]

    async def lags(self, endpoints: Sequence[Endpoint], *, now: datetime) -> list[Lag]:
        """Return how far behind each endpoint is that is known: cheap, however much waits."""
        async with self._log.reading() as connection:
            return [
                lag for endpoint in endpoints if (lag := await _lag(connection, endpoint, now)) is not None
            ]


async def _lag(connection: AsyncConnection, endpoint: Endpoint, now: datetime) -> Lag | None:
    """Deliveries are made in the feed's order, so the lowest id that is pending is the oldest event."""
    known = select(webhook_endpoint).where(webhook_endpoint.c.name == endpoint.name)
    row = (await connection.execute(known)).mappings().first()
    if row is None:
        return None
    pending = select(webhook_delivery.c.at).where(_PENDING, webhook_delivery.c.endpoint == endpoint.name)
    oldest = (await connection.execute(pending.order_by(webhook_delivery.c.id).limit(1))).scalar()
    if oldest is None:
        ahead = _ahead(endpoint, FeedCursor(xid=row["xid"], position=row["position"]), outbox.c.at)
        in_order = ahead.order_by(outbox.c.xid, outbox.c.position).limit(1)
        oldest = (await connection.execute(in_order)).scalar()
    seconds = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return Lag(endpoint=endpoint.name, enabled=row["state"] == "enabled", seconds=seconds)


def _ahead(endpoint: Endpoint, place: FeedCursor, *columns: ColumnElement[Any]) -> Select[Any]:
    """Return what stands in the outbox behind an endpoint's place and is for it."""
    ahead = select(*columns).where(behind(place), outbox.c.type.in_([one.value for one in endpoint.events]))
    return ahead if endpoint.callers is None else ahead.where(outbox.c.caller.in_(endpoint.callers))


async def _standing(connection: AsyncConnection, endpoint: Endpoint) -> EndpointStatus | None:
    query = select(webhook_endpoint).where(webhook_endpoint.c.name == endpoint.name)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    mine = webhook_delivery.c.endpoint == endpoint.name
    pending = select(func.count(), func.min(webhook_delivery.c.at)).where(_PENDING, mine)
    count, oldest = (await connection.execute(pending)).one()
    place = FeedCursor(xid=row["xid"], position=row["position"])
    ahead = _ahead(endpoint, place, func.count(), func.min(outbox.c.at))
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


def storable_text(text: str) -> str:
    """Return a text as a database takes it: without NUL and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _due(name: str, now: datetime) -> Select[Any]:
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
            _PENDING,
            webhook_delivery.c.endpoint == name,
            webhook_delivery.c.type.in_(KNOWN),
            webhook_delivery.c.next_attempt_at <= now,
            or_(webhook_delivery.c.claimed_until.is_(None), webhook_delivery.c.claimed_until <= now),
            ~held_back,
            exists().where(_enabled(name)),
        )
        .order_by(webhook_delivery.c.next_attempt_at, webhook_delivery.c.id)
    )


def _enabled(name: str) -> ColumnElement[bool]:
    return and_(webhook_endpoint.c.name == name, webhook_endpoint.c.state == "enabled")


async def _place(connection: AsyncConnection, name: str, *, lock: bool = False) -> FeedCursor | None:
    """Return up to where an enabled endpoint has its deliveries; None where it is disabled or locked."""
    query = select(webhook_endpoint.c.xid, webhook_endpoint.c.position).where(_enabled(name))
    if lock:
        query = query.with_for_update(skip_locked=True)
    row = (await connection.execute(query)).first()
    return None if row is None else FeedCursor(xid=row.xid, position=row.position)


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


def _delivery(row: RowMapping) -> Delivery:
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


def _insert(connection: AsyncConnection) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert
