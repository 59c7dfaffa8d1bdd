"""The outbox: events for others, stored together with the end of the saga that they report, and read as a feed.

    A  begins, gets position 1 ──────────────── commits
    B     begins, gets position 2 ── commits
    reader by position ────────────────▶ 2 ─▶ never 1: it was handed a cursor behind it

So the feed is in the order of `(transaction, position)`, and on PostgreSQL shows a transaction's rows only
once every older transaction has ended: whatever comes later sorts later. SQLite has one writer at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, func, literal, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.model.status import SagaStatus
from app.saga.ports.log import ReadSaga, RowChange
from app.settings.webhook_endpoints import EventName
from app.storage.engine.tables import outbox, saga
from app.storage.sagas.saga_rows import read_sagas, select_sagas
from app.storage.sagas.sql_log import SqlLog

_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


_EVENT_NAMES = {
    SagaStatus.COMPLETED: EventName.COMPLETED,
    SagaStatus.COMPENSATED: EventName.COMPENSATED,
    SagaStatus.NEEDS_ATTENTION: EventName.NEEDS_ATTENTION,
}


KNOWN = tuple(name.value for name in EventName)
"""The events that this release knows. One that a newer release left before a roll-back is skipped."""


def event_name_for(change: RowChange | None) -> EventName | None:
    """Return the event that reports a change of a saga, or None if the saga continues."""
    return None if change is None else _EVENT_NAMES.get(change.status)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FeedCursor:
    """A position in the feed: after it come the events that were not yet read."""

    xid: int = 0
    position: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxEvent:
    """An event for others: how a saga ended, with its event number `seq`. `id` never changes."""

    saga_id: str
    seq: int
    type: EventName
    at: datetime

    @property
    def id(self) -> str:
        return f"evt_{self.saga_id.replace('-', '')}_{self.seq}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedEvent:
    """An event with its position in the feed, and the caller whose saga it is about."""

    event: OutboxEvent
    cursor: FeedCursor
    caller: str


class SqlOutbox:
    """Reads the outbox; the journal's writers write it. Every method may raise `LogUnavailable`."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    async def feed(self, after: FeedCursor, *, caller: str | None, limit: int) -> list[FeedEvent]:
        """Return at most `limit` events after a cursor; `caller` None means all callers'."""
        async with self._log.reading() as connection:
            return await feed(connection, after, caller=caller, limit=limit)

    async def sagas(self, ids: Sequence[str]) -> dict[str, ReadSaga]:
        """Return the sagas of these ids that are still there."""
        if not ids:
            return {}
        async with self._log.reading() as connection:
            query = select_sagas().where(saga.c.id.in_(ids))
            found = await read_sagas(connection, query)
        return {one.saga.id: one for one in found}


async def feed(
    connection: AsyncConnection, cursor: FeedCursor, *, caller: str | None = None, limit: int
) -> list[FeedEvent]:
    """Return at most `limit` events after a cursor, on the caller's connection."""
    query: Select[Any] = (
        select(outbox)
        .where(after(cursor), outbox.c.type.in_(KNOWN))
        .where(*_before_horizon(connection))
        .order_by(outbox.c.xid, outbox.c.position)
        .limit(limit)
    )
    if caller is not None:
        query = query.where(outbox.c.caller == caller)
    return [
        FeedEvent(
            event=OutboxEvent(
                saga_id=row["saga_id"], seq=row["seq"], type=EventName(row["type"]), at=row["at"]
            ),
            cursor=FeedCursor(xid=row["xid"], position=row["position"]),
            caller=row["caller"],
        )
        for row in (await connection.execute(query)).mappings()
    ]


async def current_position(connection: AsyncConnection) -> FeedCursor:
    """Return the cursor after everything that has been committed, and before everything else."""
    if connection.dialect.name == "postgresql":
        xid = (await connection.execute(select(_horizon()))).scalar_one()
        return FeedCursor(xid=xid, position=-1)
    last = (await connection.execute(select(func.max(outbox.c.position)))).scalar_one()
    return FeedCursor(xid=0, position=last or 0)


def after(cursor: FeedCursor) -> ColumnElement[bool]:
    """Return the condition that a row of the outbox comes after a cursor."""
    return tuple_(outbox.c.xid, outbox.c.position) > tuple_(
        literal(cursor.xid, BigInteger), literal(cursor.position, BigInteger)
    )


def _before_horizon(connection: AsyncConnection) -> list[ColumnElement[bool]]:
    return [outbox.c.xid < _horizon()] if connection.dialect.name == "postgresql" else []


def _horizon() -> ColumnElement[int]:
    return literal_column(f"({_HORIZON})", BigInteger)
