"""Lists and searches of sagas, and the statistics of the backlog."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TypeVar

from sqlalchemy import ColumnClause, String, column, func, or_, select, text

from app.saga.model.events import TrailEntry
from app.saga.model.status import SagaStatus
from app.saga.ports.log import ReadSaga
from app.saga.ports.queries import BacklogStats, Kept, SagaFilter, nothing_kept
from app.saga.ports.takeover import LOST
from app.storage.engine.tables import replica, saga, saga_log
from app.storage.sagas.saga_rows import UNFINISHED, document, entry_of, event_of
from app.storage.sagas.sql_log import SqlLog

T = TypeVar("T")

_COLUMNS = ("saga_id", "seq", "at", "event", "step", "attempt")
_DATA: ColumnClause[str] = column("data", String)
"""As text: where one event's data is damaged, the others are returned all the same."""
_NEWS_POSTGRES = """
SELECT l.saga_id, l.seq, l.at, l.event, l.step, l.attempt, l.data
FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS int[])) AS w(id, seq)
JOIN saga_log l ON l.saga_id = w.id AND l.seq > w.seq ORDER BY l.saga_id, l.seq
"""
_NEWS_SQLITE = """
SELECT l.saga_id, l.seq, l.at, l.event, l.step, l.attempt, l.data
FROM json_each(:asked) AS w
JOIN saga_log l ON l.saga_id = w.key AND l.seq > w.value ORDER BY l.saga_id, l.seq
"""


class SqlQueries:
    """Newest first: ids are UUIDv7, so their order is the order in which the sagas started."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    async def find(self, saga_id: str, *, kept: Kept[T] = nothing_kept) -> ReadSaga | T | None:
        return await self._log.reads.find(saga_id, kept)

    async def list_sagas(
        self, wanted: SagaFilter, *, before: str | None, limit: int, kept: Kept[T] = nothing_kept
    ) -> list[ReadSaga | T]:
        return await self._log.reads.page(wanted, before=before, limit=limit, kept=kept)

    async def inactive(self, saga_ids: Collection[str]) -> set[str]:
        return await self._log.reads.inactive(saga_ids)

    async def since(self, seqs: Mapping[str, int]) -> Mapping[str, list[TrailEntry]]:
        async with self._log.reading() as connection:
            if connection.dialect.name == "postgresql":
                sql, given = _NEWS_POSTGRES, {"ids": list(seqs), "seqs": list(seqs.values())}
            else:
                sql, given = _NEWS_SQLITE, {"asked": json.dumps(dict(seqs))}
            typed = text(sql).columns(*(saga_log.c[name] for name in _COLUMNS), _DATA)
            rows = (await connection.execute(typed, given)).mappings().all()
        news: dict[str, list[TrailEntry]] = {}
        for row in rows:
            try:
                event: TrailEntry = event_of({**row, "data": document(row["data"])})
            except ValueError:
                event = entry_of(row)  # another release's event, or damaged: it is returned as it is stored
            news.setdefault(row["saga_id"], []).append(event)
        return news

    async def backlog_stats(self) -> BacklogStats:
        """Count the sagas that aren't finished, over their partial indexes. Raise `LogUnavailable`."""
        unfinished = text("saga.status IN ('running', 'compensating')")
        counted = select(saga.c.status, func.count().label("sagas")).where(unfinished).group_by(saga.c.status)
        attended = select(func.count()).where(text("saga.status = 'needs_attention'")).select_from(saga)
        async with self._log.reading() as connection:
            now = await self._log.now(connection)
            alive = select(replica.c.id).where(replica.c.lease_expires_at > await self._log.shown(connection))
            without_owner = or_(saga.c.owner.is_(None), saga.c.owner.not_in(alive))
            oldest = select(func.min(saga.c.next_action_at)).where(
                unfinished, saga.c.next_action_at <= now, without_owner
            )
            without_time = (
                select(func.count()).where(unfinished, saga.c.next_action_at.is_(None)).select_from(saga)
            )
            lost = select(func.count()).where(unfinished, saga.c.owner == LOST).select_from(saga)
            found = dict.fromkeys(UNFINISHED, 0)
            for row in await connection.execute(counted):
                found[row.status] = row.sagas
            found[SagaStatus.NEEDS_ATTENTION.value] = (await connection.execute(attended)).scalar_one()
            due = (await connection.execute(oldest)).scalar_one()
            unscheduled = (await connection.execute(without_time)).scalar_one()
            deferred = (await connection.execute(lost)).scalar_one()
        age = max(0.0, (now - due).total_seconds()) if due else 0.0
        return BacklogStats(
            unfinished=found, oldest_due_age_seconds=age, unscheduled=unscheduled, deferred=deferred
        )
