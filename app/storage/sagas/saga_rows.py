"""Sagas from their rows, each read apart from the others: an unreadable one never hides the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, Select, String, and_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.model.events import EventType, SagaEvent, TrailEntry
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.model.step import JSON
from app.saga.ports.log import NewSaga, ReadSaga, StoredSaga, UnreadableSaga
from app.storage.engine.tables import replica, saga, saga_log

UNFINISHED = (SagaStatus.RUNNING.value, SagaStatus.COMPENSATING.value)

DAMAGED = (ValueError, TypeError, KeyError, AttributeError)
"""The errors that a damaged value raises, or one that another release wrote."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def select_sagas() -> Select[Any]:
    """Return the query of sagas with their owners' leases, to be narrowed."""
    return select(saga, replica.c.lease_expires_at).join(
        replica, and_(replica.c.id == saga.c.owner), isouter=True
    )


async def read_sagas(connection: AsyncConnection, query: Select[Any]) -> list[ReadSaga]:
    """Return what a query made of `select_sagas` finds, in its order, each with its log."""
    try:
        return await _read(connection, query)
    except DAMAGED:  # a column of one of them isn't what it should be: read each by itself
        ids = query.with_only_columns(saga.c.id, maintain_column_froms=True)
        found: list[ReadSaga] = []
        for saga_id in (await connection.execute(ids)).scalars().all():
            try:
                found += await _read(connection, select_sagas().where(saga.c.id == saga_id))
            except DAMAGED:
                found += await _read_damaged(connection, saga_id)
        return found


async def _read(connection: AsyncConnection, query: Select[Any]) -> list[ReadSaga]:
    rows = (await connection.execute(query)).mappings().all()
    if not rows:
        return []
    logs: dict[str, list[RowMapping]] = {row["id"]: [] for row in rows}
    events = await connection.execute(
        select(saga_log)
        .where(saga_log.c.saga_id.in_(list(logs)))
        .order_by(saga_log.c.saga_id, saga_log.c.seq)
    )
    for event in events.mappings():
        logs[event["saga_id"]].append(event)
    return [_one(row, logs[row["id"]]) for row in rows]


async def _read_damaged(connection: AsyncConnection, saga_id: str) -> list[ReadSaga]:
    """Return a saga of which a column is unreadable, with what can be read."""
    raw = select(*_as_stored(saga.c)).where(saga.c.id == saga_id)
    row = (await connection.execute(raw)).mappings().first()
    if row is None:
        return []  # deleted meanwhile
    log = select(*_as_stored(saga_log.c)).where(saga_log.c.saga_id == saga_id).order_by(saga_log.c.seq)
    lines = (await connection.execute(log)).mappings().all()
    return [_unreadable(row, lines, "Its stored data is damaged.")]


def _as_stored(columns: Any) -> list[Any]:
    """Return columns without what their types make of them."""
    plain = (String,)
    return [
        column if type(column.type) in plain else type_coerce(column, String).label(column.name)
        for column in columns
    ]


def _one(row: RowMapping, lines: Sequence[RowMapping]) -> ReadSaga:
    if not lines:
        return _unreadable(row, lines, "Its trail is empty.")
    if not isinstance(row["input"], Mapping):
        return _unreadable(row, lines, "Its input is damaged.")
    if not isinstance(row["version"], int):
        return _unreadable(row, lines, "The version of its definition is damaged.")
    try:
        events = [event_of(line) for line in lines]
    except ValueError as error:
        return _unreadable(row, lines, str(error))
    try:
        return StoredSaga(
            saga=_new_saga(row),
            status=SagaStatus(row["status"]),
            epoch=row["epoch"],
            events=tuple(events),
            lease_expires_at=row["lease_expires_at"],
            cancel_request=None if row["cancel"] is None else OperatorAction.read(row["cancel"]),
        )
    except DAMAGED:
        return _unreadable(row, lines, "Its cancellation request can't be read.")


def _unreadable(row: RowMapping, lines: Sequence[RowMapping], reason: str) -> UnreadableSaga:
    created = _instant(row["created_at"]) or _NEVER
    return UnreadableSaga(
        saga=_new_saga(row),
        status=SagaStatus(row["status"]),
        reason=reason,
        trail=tuple(entry_of(line) for line in lines),
        created_at=created,
        updated_at=_instant(row["updated_at"]) or created,
        finished_at=_instant(row["finished_at"]),
    )


def _new_saga(row: RowMapping) -> NewSaga:
    return NewSaga(
        id=row["id"],
        definition=row["definition"],
        version=_number(row["version"]),
        input=document(row["input"]),
        caller=row["caller"],
        idempotency_key=row["idempotency_key"],
        fingerprint=row["fingerprint"],
        order_id=row["order_id"],
        customer_id=row["customer_id"],
        request_id=row["request_id"],
    )


def event_of(row: Mapping[str, Any] | RowMapping) -> SagaEvent:
    """Return a row of `saga_log` as the event that it is; raise `ValueError`, in a sentence, for one that isn't known here."""
    try:
        kind = EventType(row["event"])
    except ValueError:
        raise ValueError(
            f"Event {row['seq']} of its trail is {row['event']!r}, which this release doesn't know."
        ) from None
    if not isinstance(row["data"], Mapping):
        raise ValueError(f"Event {row['seq']} of its trail holds no JSON object.")  # noqa: TRY004 (as for a word)
    return SagaEvent(
        seq=row["seq"],
        at=row["at"],
        type=kind,
        step=row["step"],
        attempt=row["attempt"],
        data=row["data"],
    )


def log_row(saga_id: str, epoch: int, event: SagaEvent) -> dict[str, Any]:
    """Return an event as its row of `saga_log`."""
    return {
        "saga_id": saga_id,
        "seq": event.seq,
        "epoch": epoch,
        "at": event.at,
        "event": event.type.value,
        "step": event.step,
        "attempt": event.attempt,
        "data": dict(event.data),
    }


def entry_of(row: RowMapping) -> TrailEntry:
    """Return a row of `saga_log` as a line of the trail, whatever it holds."""
    attempt = row["attempt"]
    return TrailEntry(
        seq=_number(row["seq"]),
        at=_instant(row["at"]) or _NEVER,
        type=str(row["event"]),
        step=row["step"],
        attempt=None if attempt is None else _number(attempt),
        data=document(row["data"]),
    )


def document(value: Any) -> dict[str, JSON]:
    """Return a JSON object, read from its text where it is that; an empty one for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int:
    """Return a whole number that may have been read as text; 0 for what is none."""
    try:
        return int(value)
    except (ValueError, TypeError):
        return 0


def _instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value.astimezone(UTC) if isinstance(value, datetime) else None
