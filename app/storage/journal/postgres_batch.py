"""A batch as one statement of PostgreSQL: the statement, its parameters, and how its result is read.

Fencing, at READ COMMITTED: an append that changes its saga's row does so `WHERE epoch = …`, which
waits for a claim under way and then sees its new epoch. An append that doesn't is one event; it
looks at the epoch without a lock, and if a claim is committed in between, that claim has written
its own event under the very seq, on which the primary key lets nobody else in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from asyncpg.prepared_stmt import PreparedStatement

from app.saga.model.errors import SagaFenced
from app.saga.model.events import SagaEvent
from app.saga.model.status import INACTIVE, SagaStatus
from app.saga.ports.log import BusinessKeyConflict, IdempotencyConflict, RowChange, Stored
from app.storage.engine.postgres_session import NoCancelConnection
from app.storage.journal.entries import AppendEntry, Entry, Result, StartEntry, saga_of
from app.storage.outbox.feed import event_name_for

_Key = tuple[str, int, int]
"""The identity of an entry: its saga, its first seq, its epoch."""

WRITE_BATCH = """
WITH new AS (
  INSERT INTO saga (id, status, order_id, customer_id, created_at, updated_at, next_action_at, owner,
                    epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input)
  SELECT id, 'running', order_id, customer_id, at, at, at, owner,
         1, definition, version, caller, idempotency_key, fingerprint, request_id, input::json
  FROM unnest($1::text::uuid[], $2::text[], $3::text[], $4::text::timestamptz[], $5::text[], $6::text[],
              $7::text::int[], $8::text[], $9::text[], $10::text[], $11::text[],
              string_to_array($12, E'\\x1e'))
    AS n(id, order_id, customer_id, at, owner, definition, version,
         caller, idempotency_key, fingerprint, request_id, input)
  ON CONFLICT DO NOTHING
  RETURNING id
), changed AS (
  UPDATE saga SET status = c.status, updated_at = c.at, finished_at = c.finished_at,
                  next_action_at = CASE WHEN c.cancellable AND saga.cancel IS NOT NULL THEN c.at
                                        ELSE c.next_action_at END,
                  owner = CASE WHEN c.free THEN NULL ELSE saga.owner END
  FROM unnest($13::text::uuid[], $14::text::int[], $15::text::text[], $16::text::timestamptz[],
              $17::text::timestamptz[], $18::text::timestamptz[], $19::text::bool[], $20::text::int[],
              $21::text::bool[], $22::text::int[], $23::text::text[])
    AS c(id, epoch, status, at, finished_at, next_action_at, free, first, cancellable, last, published)
  WHERE saga.id = c.id AND saga.epoch = c.epoch
    AND EXISTS (SELECT FROM saga_log l WHERE l.saga_id = c.id AND l.seq = c.first - 1)
    AND NOT EXISTS (SELECT FROM saga_log l WHERE l.saga_id = c.id AND l.seq = c.first)
  RETURNING saga.id, saga.epoch, saga.caller, c.last, c.published, c.at
), told AS (
  INSERT INTO outbox (saga_id, seq, type, caller, at)
  SELECT id, last, published, caller, at FROM changed WHERE published IS NOT NULL
  ON CONFLICT DO NOTHING
), logged AS (
  INSERT INTO saga_log (saga_id, seq, epoch, at, event, step, attempt, data)
  SELECT e.saga_id, e.seq, e.epoch, e.at, e.event, e.step, e.attempt, e.data::json
  FROM unnest($24::text::uuid[], $25::text::int[], $26::text::int[], $27::text::timestamptz[],
              $28::text::text[], $29::text[], $30::text::int[], string_to_array($31, E'\\x1e'),
              $32::text::int[])
    AS e(saga_id, seq, epoch, at, event, step, attempt, data, kind)
  WHERE CASE e.kind
    WHEN 0 THEN e.saga_id IN (SELECT id FROM new)
    WHEN 1 THEN (e.saga_id, e.epoch) IN (SELECT id, epoch FROM changed)
    ELSE (SELECT true FROM saga s WHERE s.id = e.saga_id AND s.epoch = e.epoch)
           AND (SELECT true FROM saga_log l WHERE l.saga_id = e.saga_id AND l.seq = e.seq - 1)
  END
  ON CONFLICT DO NOTHING
  RETURNING 1
)
SELECT count(*) FROM logged
"""
"""The subselects of `ELSE` are scalar, not EXISTS: for EXISTS the planner hashes the whole of a table never analyzed."""

_SEPARATOR = "\x1e"
"""Between JSON texts, in which a control character is always escaped."""

_STORED = Stored()

_STORED_EPOCHS = """
SELECT l.saga_id::text, l.seq, l.epoch
FROM unnest($1::uuid[], $2::int[]) AS e(saga_id, seq) JOIN saga_log l USING (saga_id, seq)
"""

_CONFIRM = "UPDATE saga SET epoch = epoch WHERE id = $1"
"""Any write: its commit waits for the same synchronous standby as all before it."""

_BY_KEY = "SELECT id::text, fingerprint FROM saga WHERE caller = $1 AND idempotency_key = $2"
_BY_ORDER = (
    "SELECT id::text, status FROM saga WHERE caller = $1 AND order_id = $2 AND status <> 'compensated'"
)


async def store(
    connection: NoCancelConnection, statement: PreparedStatement, batch: Sequence[Entry]
) -> list[Result | None]:
    """Run the prepared `WRITE_BATCH` for a batch and return each entry's result; None: it met a concurrent change.

    The caller begins and commits the transaction, if it wants one of its own. Raise what the driver raises.
    """
    starts, changes, events = [], [], []
    for entry in batch:
        if isinstance(entry, StartEntry):
            starts.append(_start_row(entry))
        elif entry.change is not None:
            changes.append(_change_row(entry, entry.change))
        events += _event_rows(entry)
    stored = await statement.fetchval(
        *_start_columns(starts), *map(_array, _columns(11, changes)), *_event_columns(events)
    )
    if stored == len(events):
        return [_STORED] * len(batch)
    found = await _look_up(connection, batch)
    return [found[_key(entry)] for entry in batch]


async def _look_up(connection: NoCancelConnection, entries: Sequence[Entry]) -> dict[_Key, Result | None]:
    """Return for entries of which not all were stored now whether they are stored, or what conflicts with them."""
    rows = await connection.fetch(
        _STORED_EPOCHS,
        [saga_of(e) for e in entries],
        [_first_seq(e) for e in entries],
    )
    epochs = {(saga_id, seq): epoch for saga_id, seq, epoch in rows}
    found: dict[_Key, Result | None] = {}
    for entry in entries:
        epoch = epochs.get((saga_of(entry), _first_seq(entry)))
        if isinstance(entry, AppendEntry):
            found[_key(entry)] = Stored() if epoch == entry.epoch else SagaFenced()
        elif epoch is not None:
            found[_key(entry)] = Stored()
        else:
            found[_key(entry)] = await _conflicting_saga(connection, entry)
    acknowledged = [*filter(None, (_acknowledged_saga(entry, found[_key(entry)]) for entry in entries))]
    if acknowledged:
        # An earlier statement stored them, and its COMMIT may not have waited for the standby.
        await connection.execute(_CONFIRM, acknowledged[0])
    return found


async def _conflicting_saga(connection: NoCancelConnection, entry: StartEntry) -> Result | None:
    saga = entry.saga
    if saga.idempotency_key is not None:
        row = await connection.fetchrow(_BY_KEY, saga.caller, saga.idempotency_key)
        if row is not None:
            return IdempotencyConflict(saga_id=row[0], fingerprint=row[1])
    if saga.order_id is not None:
        row = await connection.fetchrow(_BY_ORDER, saga.caller, saga.order_id)
        if row is not None:
            return BusinessKeyConflict(saga_id=row[0], status=SagaStatus(row[1]))
    return None


def _columns(width: int, rows: list[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    return zip(*rows, strict=True) if rows else [()] * width


def _array(values: Iterable[object]) -> str:
    """Return values that need no quotes as PostgreSQL writes an array: at a third of what the driver takes for one."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _start_columns(rows: list[tuple[Any, ...]]) -> Iterator[Any]:
    saga_id, order_id, customer_id, at, owner, definition, version, *texts, given = _columns(12, rows)
    yield from (_array(saga_id), order_id, customer_id, _array(at), owner, definition, _array(version))
    yield from (*texts, _SEPARATOR.join(given))


def _event_columns(rows: list[tuple[Any, ...]]) -> Iterator[Any]:
    saga_id, seq, epoch, at, event, step, attempt, data, kind = _columns(9, rows)
    yield from (_array(saga_id), _array(seq), _array(epoch), _array(at), _array(event), step)
    yield from (_array(attempt), _SEPARATOR.join(data), _array(kind))


def _key(entry: Entry) -> _Key:
    return saga_of(entry), _first_seq(entry), 1 if isinstance(entry, StartEntry) else entry.epoch


def _acknowledged_saga(entry: Entry, result: Result | None) -> str | None:
    """Return the saga that a result acknowledges, if any."""
    match result:
        case Stored():
            return saga_of(entry)
        case IdempotencyConflict(saga_id=saga_id) | BusinessKeyConflict(saga_id=saga_id):
            return saga_id
    return None


def _first_seq(entry: Entry) -> int:
    return 1 if isinstance(entry, StartEntry) else entry.events[0].seq


def _start_row(entry: StartEntry) -> tuple[Any, ...]:
    saga = entry.saga
    return (
        saga.id,
        saga.order_id,
        saga.customer_id,
        entry.event.at,
        entry.owner,
        saga.definition,
        saga.version,
        saga.caller,
        saga.idempotency_key,
        saga.fingerprint,
        saga.request_id,
        saga.text,
    )


def _change_row(entry: AppendEntry, change: RowChange) -> tuple[Any, ...]:
    last = entry.events[-1]
    published = event_name_for(change)
    return (
        entry.saga_id,
        entry.epoch,
        change.status.value,
        last.at,
        change.finished_at,
        change.next_action_at,
        change.park or change.status in INACTIVE,
        entry.events[0].seq,
        change.cancellable,
        last.seq,
        published and published.value,
    )


def _event_rows(entry: Entry) -> list[tuple[Any, ...]]:
    """`kind` tells what lets an event in: 0 its saga's insert, 1 its saga's change, 2 the epoch alone."""
    if isinstance(entry, StartEntry):
        saga_id, epoch, kind = entry.saga.id, 1, 0
        events: Sequence[SagaEvent] = (entry.event,)
    else:
        saga_id, epoch, events = entry.saga_id, entry.epoch, entry.events
        kind = 2 if entry.change is None else 1
    return [
        (
            saga_id,
            event.seq,
            epoch,
            event.at,
            event.type,
            event.step,
            event.attempt,
            event.text,
            kind,
        )
        for event in events
    ]
