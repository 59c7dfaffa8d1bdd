"""Old sagas in a database: redacting them, erasing a customer's data, deleting them.

A saga's id starts with the time of its start (UUIDv7). So the old sagas are a range of the primary key:
no index is kept for this, and no checkout pays for it. Each batch is one short transaction.

redact   continues from `retention.position`: all sagas up to there were examined once. Those that were
         not finished then (a saga may wait for an operator for months) are listed in `retention_later`, and
         are examined again before any other: so none is left out, and none is read twice.
delete   starts at the oldest saga each time, as the ones before it are deleted, and skips those to be kept.

One row is locked in each batch, so that one replica works at a time; a replica that finds it locked leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.model.status import SagaStatus
from app.storage.engine.tables import retention, retention_later, saga
from app.storage.engine.translation import repeats
from app.storage.retention.deletion import delete_sagas, undelivered
from app.storage.retention.redacted_rows import redact_rows, select_rows
from app.storage.retention.redaction import Redaction
from app.storage.sagas.first_id import first_id
from app.storage.sagas.sql_log import SqlLog

FIRST = "00000000-0000-0000-0000-000000000000"
"""Before every saga."""

_FINISHED = (SagaStatus.COMPLETED.value, SagaStatus.COMPENSATED.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The result of a batch: how many sagas were changed, whether there may be more, and the last one examined."""

    done: int
    more: bool
    last: str = FIRST


@dataclass(frozen=True, kw_only=True, slots=True)
class UnfinishedSaga:
    """A customer's saga that isn't finished, so its data is still needed."""

    saga_id: str
    status: SagaStatus


class SqlRetention:
    """The old sagas of a database. Every method may raise `LogUnavailable`."""

    def __init__(self, log: SqlLog, redaction: Redaction) -> None:
        self._log = log
        self._redaction = redaction

    @repeats
    async def redact(self, before: datetime, *, limit: int) -> Batch:
        """Examine at most `limit` sagas, and redact those that finished before a time."""
        async with self._log.writing() as connection:
            position = await _lock(connection)
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
            done = await redact_rows(connection, [*late, *ready], self._redaction)
        return Batch(done=done, more=len(late) + len(page) == limit)

    @repeats
    async def erase(self, customer_id: str, *, caller: str | None, limit: int) -> int:
        """Redact at most `limit` finished sagas of a customer; return how many, 0 once none is left."""
        async with self._log.writing() as connection:
            await _lock(connection, wait=True)
            query = select_rows().where(_of(customer_id, caller), saga.c.status.in_(_FINISHED))
            rows = (await connection.execute(query.order_by(saga.c.id).limit(limit))).all()
            return await redact_rows(connection, rows, self._redaction)

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
        """Examine at most `limit` sagas after the id `after`, and delete those that finished before a time.

        A saga is kept while an event of it is still to be delivered to one of `endpoints`, given by name.
        """
        async with self._log.writing() as connection:
            if await _lock(connection) is None:
                return Batch(done=0, more=True, last=after)
            page = (await connection.execute(_page(before, after, limit))).all()
            finished = [row.id for row in page if _finished(row, before)]
            kept = await undelivered(connection, finished, endpoints)
            expired = [saga_id for saga_id in finished if saga_id not in kept]
            await delete_sagas(connection, expired)
        return Batch(done=len(expired), more=len(page) == limit, last=page[-1].id if page else after)

    async def to_redact(self, before: datetime) -> int:
        """Return how many sagas that finished before a time are still to be redacted."""
        async with self._log.reading() as connection:
            position = (await connection.execute(select(retention.c.position))).scalar_one()
            ahead = select(func.count()).select_from(_old(before, position).subquery())
            late = select(func.count()).select_from(_late(before).subquery())
            counts = [(await connection.execute(query)).scalar_one() for query in (ahead, late)]
        return sum(counts)

    async def to_delete(self, before: datetime) -> int:
        """Return how many sagas finished before a time."""
        async with self._log.reading() as connection:
            query = select(func.count()).select_from(_old(before, FIRST).subquery())
            found: int = (await connection.execute(query)).scalar_one()
        return found


async def _lock(connection: AsyncConnection, *, wait: bool = False) -> str | None:
    """Lock the one row and return its position; None where another replica has locked it, unless `wait`."""
    query = select(retention.c.position).with_for_update(skip_locked=not wait)
    position: str | None = (await connection.execute(query)).scalar_one_or_none()
    return position


def _page(before: datetime, after: str, limit: int) -> Select[Any]:
    """Return the query of the sagas that started before a time, oldest first, whether finished or not."""
    return (
        select_rows().where(saga.c.id > after, saga.c.id < first_id(before)).order_by(saga.c.id).limit(limit)
    )


def _old(before: datetime, after: str) -> Select[Any]:
    return select(saga.c.id).where(saga.c.id > after, saga.c.id < first_id(before), _finished_before(before))


def _late(before: datetime) -> Select[Any]:
    """Return the query of the sagas that weren't finished when they were examined, and now are."""
    return (
        select_rows()
        .join(retention_later, retention_later.c.saga_id == saga.c.id)
        .where(_finished_before(before))
    )


def _finished_before(before: datetime) -> ColumnElement[bool]:
    return and_(saga.c.status.in_(_FINISHED), saga.c.finished_at < before)


def _finished(row: Row[Any], before: datetime) -> bool:
    return row.status in _FINISHED and row.finished_at < before


def _of(customer_id: str, caller: str | None) -> ColumnElement[bool]:
    whose = saga.c.customer_id == customer_id
    return whose if caller is None else and_(saga.c.caller == caller, whose)
