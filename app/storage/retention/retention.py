"""Old sagas on a database: what takes their customers' data away, and what deletes them.

A saga's id begins with when it began (UUIDv7), so that what is old is a range of the primary key: no
index is kept for this, and no checkout pays for it. Each batch is one short transaction.

redact   goes on from `retention.position`, up to which everything was looked at once. What wasn't
         finished then (a saga may need a person for months) is noted in `retention_later`, and
         looked at again before anything new: so nothing is left out, and nothing is read twice.
delete   begins at the oldest saga each time, as what it was done with is gone, and skips what has to stay.

One row is locked in each batch, so that one replica works at a time; whoever finds it locked goes away.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.model.status import SagaStatus
from app.storage.engine.tables import (
    outbox,
    retention,
    retention_later,
    saga,
    saga_log,
    webhook_delivery,
    webhook_endpoint,
)
from app.storage.engine.translation import repeats
from app.storage.outbox.feed import FeedCursor, after
from app.storage.retention.redaction import MARKER, REMOVED, Redaction
from app.storage.sagas.saga_rows import document
from app.storage.sagas.sql_log import SqlLog
from app.storage.sagas.statistics import first_id

FIRST = "00000000-0000-0000-0000-000000000000"
"""Before every saga."""

_FINISHED = (SagaStatus.COMPLETED.value, SagaStatus.COMPENSATED.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What a batch did: of how many sagas, whether there may be more, and the last one looked at."""

    done: int
    more: bool
    last: str = FIRST


@dataclass(frozen=True, kw_only=True, slots=True)
class UnfinishedSaga:
    """A saga of a customer that isn't finished, so its data is still needed."""

    saga_id: str
    status: SagaStatus


class SqlRetention:
    """The old sagas of a database. Every method may raise `LogUnavailable`."""

    def __init__(self, log: SqlLog, redaction: Redaction) -> None:
        self._log = log
        self._redaction = redaction

    @repeats
    async def redact(self, before: datetime, *, limit: int) -> Batch:
        """Look at no more than `limit` sagas, and redact those that were finished before a time."""
        async with self._log.writing() as connection:
            position = await _claim(connection)
            if position is None:
                return Batch(done=0, more=True)
            query = _late(before).order_by(saga.c.id).limit(limit)
            late = (await connection.execute(query)).all()
            if late:
                ids = [row.id for row in late]
                await connection.execute(delete(retention_later).where(retention_later.c.saga_id.in_(ids)))
            page = (await connection.execute(_page(before, position, limit - len(late)))).all()
            ready = [row for row in page if _finished(row, before)]
            if later := [{"saga_id": row.id} for row in page if not _finished(row, before)]:
                await connection.execute(insert(retention_later), later)
            if page:
                await connection.execute(update(retention).values(position=page[-1].id))
            done = await _redact(connection, [*late, *ready], self._redaction)
        return Batch(done=done, more=len(late) + len(page) == limit)

    @repeats
    async def erase(self, customer_id: str, *, caller: str | None, limit: int) -> int:
        """Redact no more than `limit` finished sagas of a customer; return how many, 0 once none is left."""
        async with self._log.writing() as connection:
            await _claim(connection, wait=True)
            query = _rows().where(_of(customer_id, caller), saga.c.status.in_(_FINISHED))
            rows = (await connection.execute(query.order_by(saga.c.id).limit(limit))).all()
            return await _redact(connection, rows, self._redaction)

    async def unfinished(self, customer_id: str, *, caller: str | None) -> list[UnfinishedSaga]:
        """Return a customer's sagas that aren't finished, the oldest first."""
        query = select(saga.c.id, saga.c.status).where(
            _of(customer_id, caller), saga.c.status.not_in(_FINISHED)
        )
        async with self._log.reading() as connection:
            rows = (await connection.execute(query.order_by(saga.c.id))).all()
        return [UnfinishedSaga(saga_id=row.id, status=SagaStatus(row.status)) for row in rows]

    @repeats
    async def delete(self, before: datetime, *, after: str, limit: int, endpoints: Sequence[str]) -> Batch:
        """Look at no more than `limit` sagas behind `after`, and delete those that were finished before a time.

        One of which an endpoint (a name in `endpoints`) is still to be told stays.
        """
        async with self._log.writing() as connection:
            if await _claim(connection) is None:
                return Batch(done=0, more=True, last=after)
            page = (await connection.execute(_page(before, after, limit))).all()
            finished = [row.id for row in page if _finished(row, before)]
            held = await _held_back(connection, finished, endpoints)
            gone = [saga_id for saga_id in finished if saga_id not in held]
            if gone:
                names = (await connection.execute(select(webhook_endpoint.c.name))).scalars().all()
                await connection.execute(
                    delete(webhook_delivery).where(
                        webhook_delivery.c.endpoint.in_(names),  # for its index
                        webhook_delivery.c.saga_id.in_(gone),
                    )
                )
                for column in (
                    outbox.c.saga_id,
                    saga_log.c.saga_id,
                    retention_later.c.saga_id,
                    saga.c.id,
                ):
                    await connection.execute(delete(column.table).where(column.in_(gone)))
        return Batch(done=len(gone), more=len(page) == limit, last=page[-1].id if page else after)

    async def to_redact(self, before: datetime) -> int:
        """Return how many sagas are still to be redacted that were finished before a time."""
        async with self._log.reading() as connection:
            position = (await connection.execute(select(retention.c.position))).scalar_one()
            ahead = select(func.count()).select_from(_old(before, position).subquery())
            late = select(func.count()).select_from(_late(before).subquery())
            counts = [(await connection.execute(query)).scalar_one() for query in (ahead, late)]
        return sum(counts)

    async def to_delete(self, before: datetime) -> int:
        """Return how many sagas there are that were finished before a time."""
        async with self._log.reading() as connection:
            query = select(func.count()).select_from(_old(before, FIRST).subquery())
            found: int = (await connection.execute(query)).scalar_one()
        return found


async def _claim(connection: AsyncConnection, *, wait: bool = False) -> str | None:
    """Lock the one row and return its position; None where another replica has it, unless `wait`."""
    query = select(retention.c.position).with_for_update(skip_locked=not wait)
    position: str | None = (await connection.execute(query)).scalar_one_or_none()
    return position


def _rows() -> Select[Any]:
    """Select what redacting needs; the JSON as text, so that a damaged one holds up nobody else's."""
    given = cast(saga.c.input, Text).label("input")
    return select(saga.c.id, saga.c.status, saga.c.finished_at, saga.c.customer_id, given)


def _page(before: datetime, after: str, limit: int) -> Select[Any]:
    """Return what began before a time, oldest first, whether it is finished or not."""
    return _rows().where(saga.c.id > after, saga.c.id < first_id(before)).order_by(saga.c.id).limit(limit)


def _old(before: datetime, after: str) -> Select[Any]:
    return select(saga.c.id).where(saga.c.id > after, saga.c.id < first_id(before), _finished_before(before))


def _late(before: datetime) -> Select[Any]:
    """Return what wasn't finished when it was looked at, and now is."""
    return (
        _rows().join(retention_later, retention_later.c.saga_id == saga.c.id).where(_finished_before(before))
    )


def _finished_before(before: datetime) -> ColumnElement[bool]:
    return and_(saga.c.status.in_(_FINISHED), saga.c.finished_at < before)


def _finished(row: Row[Any], before: datetime) -> bool:
    return row.status in _FINISHED and row.finished_at < before


def _of(customer_id: str, caller: str | None) -> ColumnElement[bool]:
    whose = saga.c.customer_id == customer_id
    return whose if caller is None else and_(saga.c.caller == caller, whose)


async def _redact(connection: AsyncConnection, rows: Sequence[Row[Any]], redaction: Redaction) -> int:
    """Redact these sagas, and return how many of them weren't yet."""
    inputs = {row.id: document(row.input) for row in rows}
    fresh = [row for row in rows if MARKER not in inputs[row.id]]
    if not fresh:
        return 0
    ids = [row.id for row in fresh]
    await connection.execute(
        update(saga)
        .where(saga.c.id == bindparam("saga"))
        .values(customer_id=bindparam("customer"), input=bindparam("kept", type_=JSON), request_id=None),
        [
            {
                "saga": row.id,
                "customer": None if row.customer_id is None else REMOVED,
                "kept": redaction.input(inputs[row.id]),
            }
            for row in fresh
        ],
    )
    text = cast(saga_log.c.data, Text).label("data")
    query = select(saga_log.c.saga_id, saga_log.c.seq, text).where(saga_log.c.saga_id.in_(ids))
    events = (await connection.execute(query.order_by(saga_log.c.saga_id, saga_log.c.seq))).all()
    changed = [
        {"saga": row.saga_id, "number": row.seq, "kept": kept}
        for row in events
        if (kept := redaction.data(document(row.data))) != _loaded(row.data)
    ]
    if changed:
        await connection.execute(
            update(saga_log)
            .where(saga_log.c.saga_id == bindparam("saga"), saga_log.c.seq == bindparam("number"))
            .values(data=bindparam("kept", type_=JSON)),
            changed,
        )
    return len(fresh)


def _loaded(text: str) -> object:
    """Return what a JSON text says; None, which no event holds, where it is damaged."""
    try:
        return json.loads(text)
    except ValueError:
        return None


async def _held_back(connection: AsyncConnection, ids: Sequence[str], endpoints: Sequence[str]) -> set[str]:
    """Return which of these sagas an endpoint is still to be told of, also one that is disabled for now."""
    if not ids or not endpoints:
        return set()
    query = select(webhook_endpoint.c.xid, webhook_endpoint.c.position).where(
        webhook_endpoint.c.name.in_(endpoints)
    )
    places = [FeedCursor(xid=row.xid, position=row.position) for row in await connection.execute(query)]
    held: set[str] = set()
    if places:
        ahead = select(outbox.c.saga_id).where(outbox.c.saga_id.in_(ids), or_(*map(after, places)))
        held.update((await connection.execute(ahead)).scalars())
    # After the places: what was fanned out meanwhile is found here.
    pending = select(webhook_delivery.c.saga_id).where(
        webhook_delivery.c.endpoint.in_(endpoints),
        webhook_delivery.c.saga_id.in_(ids),
        webhook_delivery.c.status == "pending",
    )
    held.update((await connection.execute(pending)).scalars())
    return held
