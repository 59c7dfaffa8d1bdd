"""Counts of the sagas that started in a span of time, for the page's plots.

A saga's id starts with the time of its start (UUIDv7, RFC 9562), so a span is a range of the primary key:
no index is kept for this, and no write pays for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, literal_column, select, text

from app.saga.model.status import SagaStatus
from app.saga.ports.queries import DURATION_EDGES, BucketCount
from app.storage.engine.tables import saga
from app.storage.sagas.first_id import ID_SLACK, first_id
from app.storage.sagas.saga_rows import UNFINISHED
from app.storage.sagas.sql_log import SqlLog

_Measured = tuple[ColumnElement[Any], ColumnElement[Any]]
_ON_POSTGRESQL: _Measured = (
    func.date_trunc("minute", saga.c.created_at, "UTC"),
    literal_column("EXTRACT(epoch FROM finished_at - created_at)"),
)
_ON_SQLITE: _Measured = (
    literal_column("substr(created_at, 1, 16)"),
    literal_column("(julianday(finished_at) - julianday(created_at)) * 86400"),
)
"""The minute in which a saga started, and its duration in seconds; NULL while it isn't finished."""


class SqlStatistics:
    """`SagaHistory` over either database."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    async def counts_by_minute(
        self, *, after: datetime, before: datetime, caller: str | None
    ) -> list[BucketCount]:
        async with self._log.reading() as connection:
            minute, seconds = _ON_POSTGRESQL if connection.dialect.name == "postgresql" else _ON_SQLITE
            bucket = case(
                (saga.c.finished_at.is_(None), None),
                *((seconds <= edge, at) for at, edge in enumerate(DURATION_EDGES)),
                else_=len(DURATION_EDGES),
            )
            query = (
                select(
                    minute.label("minute"), saga.c.status, bucket.label("bucket"), func.count().label("sagas")
                )
                .where(
                    saga.c.id >= first_id(after, -ID_SLACK),
                    saga.c.id < first_id(before, ID_SLACK),
                    saga.c.created_at >= after,
                    saga.c.created_at < before,
                )
                .group_by(text("1"), text("2"), text("3"))
            )
            if caller is not None:
                query = query.where(saga.c.caller == caller)
            rows = (await connection.execute(query)).all()
        return [
            BucketCount(
                minute=_minute(row.minute),
                status=SagaStatus(row.status),
                duration_bucket=row.bucket,
                sagas=row.sagas,
            )
            for row in rows
        ]

    async def unfinished(self, *, caller: str | None) -> Mapping[SagaStatus, int]:
        found = dict.fromkeys((SagaStatus(one) for one in UNFINISHED), 0)
        found[SagaStatus.NEEDS_ATTENTION] = 0
        async with self._log.reading() as connection:
            for status in ("saga.status IN ('running', 'compensating')", "saga.status = 'needs_attention'"):
                query = select(saga.c.status, func.count().label("sagas")).where(text(status))
                if caller is not None:
                    query = query.where(saga.c.caller == caller)
                for row in await connection.execute(query.group_by(saga.c.status)):
                    found[SagaStatus(row.status)] = row.sagas
        return found

    async def newest(self) -> str | None:
        query = select(saga.c.id).order_by(saga.c.id.desc()).limit(1)
        async with self._log.reading() as connection:
            found: str | None = (await connection.execute(query)).scalar()
        return found


def _minute(found: datetime | str) -> datetime:
    if isinstance(found, str):
        return datetime.fromisoformat(found).replace(tzinfo=UTC)
    return found.astimezone(UTC)
