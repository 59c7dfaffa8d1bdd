"""The outbox: what others are told, written with the very end that it tells of, read as a feed.

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
"""What this release can tell of: a newer one's word, which it left behind after a roll-back, stops nobody."""


def event_name_for(change: RowChange | None) -> EventName | None:
    """Return what others are told of a change of a saga; None where it goes on."""
    return None if change is None else _EVENT_NAMES.get(change.status)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FeedCursor:
    """A place in the feed: behind everything up to and including it."""

    xid: int = 0
    position: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxEvent:
    """What others are told: that a saga ended so, with its event number `seq`. `id` is the same for ever."""

    saga_id: str
    seq: int
    type: EventName
    at: datetime

    @property
    def id(self) -> str:
        return f"evt_{self.saga_id.replace('-', '')}_{self.seq}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedEvent:
    """An event with its place in the feed and whose it is."""

    event: OutboxEvent
    place: FeedCursor
    caller: str


class SqlOutbox:
    """Reads the outbox; the journal's writers write it. Every method may raise `LogUnavailable`."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    async def feed(self, after: FeedCursor, *, caller: str | None, limit: int) -> list[FeedEvent]:
        """Return at most `limit` events behind a place; `caller` None means everyone's."""
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
    connection: AsyncConnection, after: FeedCursor, *, caller: str | None = None, limit: int
) -> list[FeedEvent]:
    """Return events behind a place, on a connection that somebody else has in hand."""
    query: Select[Any] = (
        select(outbox)
        .where(behind(after), outbox.c.type.in_(KNOWN))
        .where(*_settled(connection))
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
            place=FeedCursor(xid=row["xid"], position=row["position"]),
            caller=row["caller"],
        )
        for row in (await connection.execute(query)).mappings()
    ]


async def end_of_feed(connection: AsyncConnection) -> FeedCursor:
    """Return a place before whatever is yet to come, and behind everything that has been committed."""
    if connection.dialect.name == "postgresql":
        xid = (await connection.execute(select(_horizon()))).scalar_one()
        return FeedCursor(xid=xid, position=-1)
    last = (await connection.execute(select(func.max(outbox.c.position)))).scalar_one()
    return FeedCursor(xid=0, position=last or 0)


def behind(after: FeedCursor) -> ColumnElement[bool]:
    """Return the condition that a row of the outbox stands behind a place."""
    return tuple_(outbox.c.xid, outbox.c.position) > tuple_(
        literal(after.xid, BigInteger), literal(after.position, BigInteger)
    )


def _settled(connection: AsyncConnection) -> list[ColumnElement[bool]]:
    return [outbox.c.xid < _horizon()] if connection.dialect.name == "postgresql" else []


def _horizon() -> ColumnElement[int]:
    return literal_column(f"({_HORIZON})", BigInteger)
