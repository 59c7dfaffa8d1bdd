"""Sagas read without SQLAlchemy: one, or a list, in two statements at most.

The first reads the rows of `saga`, the second the logs of those that `kept` doesn't know. A finished saga's log changes
only together with its row, so whoever has kept something of the row that they had, equal values included, needs no log.

What can't be understood is read again by `read_sagas`, which says what is wrong with it and shows the rest.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

from app.saga.model.errors import IllegalEvent
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, ReadSaga, StoredSaga
from app.saga.ports.queries import Kept, SagaFilter, nothing_kept
from app.storage.engine.reads import Reads, Row
from app.storage.engine.tables import saga
from app.storage.engine.transactions import Transactions
from app.storage.sagas.list_statement import list_statement, select_rows
from app.storage.sagas.saga_rows import DAMAGED, read_sagas, select_sagas

T = TypeVar("T")

_INSTANTS = ("created_at", "updated_at", "finished_at", "next_action_at")
_ONE = {
    True: f"{select_rows(postgres=True)} WHERE s.id = $1",
    False: f"{select_rows(postgres=False)} WHERE s.id = ?1",
}
_LOGS = {
    True: """SELECT saga_id::text AS saga_id, seq, at, event, step, attempt, data FROM saga_log
             WHERE saga_id = ANY($1::uuid[]) ORDER BY saga_log.saga_id, seq""",
    False: """SELECT saga_id, seq, at, event, step, attempt, data FROM saga_log
              WHERE saga_id IN (SELECT value FROM json_each(?1)) ORDER BY saga_id, seq""",
}
_INACTIVE = {
    True: """SELECT id::text AS id FROM saga
             WHERE id = ANY($1::uuid[]) AND status IN ('completed', 'compensated', 'needs_attention')""",
    False: """SELECT id FROM saga WHERE id IN (SELECT value FROM json_each(?1))
              AND status IN ('completed', 'compensated', 'needs_attention')""",
}
"""By whether the database is PostgreSQL."""


class SagaReads:
    """Reads sagas as they are durable now. Every method may raise `LogUnavailable`."""

    def __init__(self, reads: Reads, transactions: Transactions) -> None:
        self._reads = reads
        self._transactions = transactions
        self._postgres = reads.is_postgres

    async def find(self, saga_id: str, kept: Kept[T] = nothing_kept) -> ReadSaga | T | None:
        """Return a saga, or what was kept of it; None where there is none."""
        rows = await self._reads.fetch(_ONE[self._postgres], saga_id)
        return (await self._complete(rows, kept))[0] if rows else None

    async def page(
        self, wanted: SagaFilter, *, before: str | None, limit: int, kept: Kept[T] = nothing_kept
    ) -> list[ReadSaga | T]:
        """Return the newest sagas of a filter, or what was kept of each."""
        sql, arguments = list_statement(wanted, before=before, limit=limit, postgres=self._postgres)
        return await self._complete(await self._reads.fetch(sql, *arguments), kept)

    async def inactive(self, saga_ids: Collection[str]) -> set[str]:
        """Return which of these sagas no process works on."""
        rows = await self._reads.fetch(_INACTIVE[self._postgres], self._ids(saga_ids))
        return {row["id"] for row in rows}

    async def _complete(self, rows: Sequence[Row], kept: Kept[T]) -> list[ReadSaga | T]:
        found: list[ReadSaga | T | None] = [kept(row["id"], row) for row in rows]
        logs: dict[str, list[Row]] = {
            row["id"]: [] for row, one in zip(rows, found, strict=True) if one is None
        }
        if not logs:
            return [one for one in found if one is not None]
        for line in await self._reads.fetch(_LOGS[self._postgres], self._ids(logs)):
            logs[line["saga_id"]].append(line)
        complete: list[ReadSaga | T] = []
        for row, one in zip(rows, found, strict=True):
            if one is not None:
                complete.append(one)
                continue
            try:
                complete.append(_stored(row, logs[row["id"]]))
            except (IllegalEvent, *DAMAGED):
                complete += await self._explained(row["id"])
        return complete

    async def _explained(self, saga_id: str) -> list[ReadSaga]:
        """Return a saga that can't be understood with the reason; none where it was deleted meanwhile."""
        async with self._transactions.reading() as connection:
            return await read_sagas(connection, select_sagas().where(saga.c.id == saga_id))

    def _ids(self, saga_ids: Collection[str]) -> object:
        return list(saga_ids) if self._postgres else json.dumps(list(saga_ids))


def _stored(row: Row, lines: Sequence[Row]) -> StoredSaga:
    """Return a saga of its row and log; raise one of `DAMAGED` for what can't be understood."""
    given, version = json.loads(row["input"]), row["version"]
    if not (lines and isinstance(given, dict) and isinstance(version, int)):
        raise ValueError
    for name in _INSTANTS:
        _instant(row[name])
    cancel = None if row["cancel"] is None else json.loads(row["cancel"])
    new = NewSaga(
        id=row["id"],
        definition=row["definition"],
        version=version,
        input=given,
        caller=row["caller"],
        idempotency_key=row["idempotency_key"],
        fingerprint=row["fingerprint"],
        order_id=row["order_id"],
        customer_id=row["customer_id"],
        request_id=row["request_id"],
    )
    return StoredSaga(
        saga=new,
        status=SagaStatus(row["status"]),
        epoch=row["epoch"],
        events=tuple([_event(line) for line in lines]),
        lease_expires_at=_instant(row["lease_expires_at"]),
        cancel_request=None if cancel is None else OperatorAction.read(cancel),
        stamp=row,
    )


def _event(line: Row) -> SagaEvent:
    data, at = json.loads(line["data"]), _instant(line["at"])
    if at is None or not isinstance(data, dict):
        raise ValueError
    return SagaEvent(
        seq=line["seq"],
        at=at,
        type=EventType(line["event"]),
        step=line["step"],
        attempt=line["attempt"],
        data=data,
    )


def _instant(value: Any) -> datetime | None:
    """Return a time as PostgreSQL's driver has it, or as SQLite keeps it."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value)
