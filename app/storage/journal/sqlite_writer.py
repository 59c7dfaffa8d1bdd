"""Writes a batch to SQLite: one `BEGIN IMMEDIATE … COMMIT` in a thread of its own, over the stdlib's driver.

`BEGIN IMMEDIATE` takes the write lock at once, so the epoch that is read is the epoch that holds.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.saga.model.errors import SagaFenced
from app.saga.model.status import INACTIVE, SagaStatus
from app.saga.ports.log import BusinessKeyConflict, IdempotencyConflict, Stored
from app.storage.engine.database import UnsafeDatabase
from app.storage.engine.faults import Blame, blame_of_sqlite
from app.storage.engine.tables import instant_text
from app.storage.journal.entries import AppendEntry, CommitUnknown, Entry, RejectedBatch, Result, StartEntry
from app.storage.outbox.feed import event_name_for

T = TypeVar("T")

_INSERT_SAGA = """
INSERT INTO saga (id, status, order_id, customer_id, created_at, updated_at, next_action_at, owner,
                  epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input)
VALUES (?1, 'running', ?2, ?3, ?4, ?4, ?4, ?5, 1, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT DO NOTHING
"""
_CHANGE_SAGA = """
UPDATE saga SET status = ?3, updated_at = ?4, finished_at = ?5,
                next_action_at = CASE WHEN ?8 AND cancel IS NOT NULL THEN ?4 ELSE ?6 END,
                owner = CASE WHEN ?7 THEN NULL ELSE owner END
WHERE id = ?1 AND epoch = ?2
"""
_INSERT_EVENT = """
INSERT INTO saga_log (saga_id, seq, epoch, at, event, step, attempt, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_TELL = """
INSERT INTO outbox (saga_id, seq, type, caller, at)
SELECT id, ?2, ?3, caller, ?4 FROM saga WHERE id = ?1
ON CONFLICT DO NOTHING
"""
_HEAD = "SELECT max(seq) FROM saga_log WHERE saga_id = ?"
_EPOCH = "SELECT epoch FROM saga WHERE id = ?"
_EVENT_EPOCH = "SELECT epoch FROM saga_log WHERE saga_id = ? AND seq = ?"
_BY_KEY = "SELECT id, fingerprint FROM saga WHERE caller = ? AND idempotency_key = ?"
_BY_ORDER = "SELECT id, status FROM saga WHERE caller = ? AND order_id = ? AND status <> 'compensated'"


class SqliteWriter:
    """One connection in one thread; every method of the connection runs there."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], verify: Callable[[], None] = lambda: None
    ) -> None:
        """`verify` raises if the file that `connect` has opened is no longer the one at its path."""
        self._connect = connect
        self._verify = verify
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        await self._in_thread(self._ready)

    async def write(self, batch: Sequence[Entry], *, hurried: bool = False) -> list[Result | None]:  # noqa: ARG002 (its locks are the whole file's)
        try:
            return await self._in_thread(lambda: self._write(batch))
        except UnsafeDatabase as error:
            raise CommitUnknown(str(error)) from error

    async def probe(self) -> None:
        try:
            await self._in_thread(self._probe)
        except (UnsafeDatabase, RejectedBatch) as error:
            raise CommitUnknown(str(error)) from error

    async def close(self) -> None:
        if self._thread is not None:
            await self._in_thread(self._disconnect)
            self._thread.shutdown(wait=True)
            self._thread = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except UnsafeDatabase:
            raise
        except Exception as error:
            blame = blame_of_sqlite(error)
            if blame is Blame.ENTRY:
                raise RejectedBatch(type(error).__name__) from error
            raise CommitUnknown(f"{type(error).__name__}: {error}", blame=blame) from error

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ready(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _probe(self) -> None:
        connection = self._ready()
        self._verify()
        connection.execute("UPDATE schema_floor SET revision = revision")

    def _write(self, batch: Sequence[Entry]) -> list[Result | None]:
        connection = self._ready()
        self._verify()
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [
                _start(connection, entry) if isinstance(entry, StartEntry) else _append(connection, entry)
                for entry in batch
            ]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._verify()  # before the batch is acknowledged
        return results


def _start(connection: sqlite3.Connection, entry: StartEntry) -> Result | None:
    saga, at = entry.saga, instant_text(entry.event.at)
    inserted = connection.execute(
        _INSERT_SAGA,
        (
            saga.id,
            saga.order_id,
            saga.customer_id,
            at,
            entry.owner,
            saga.definition,
            saga.version,
            saga.caller,
            saga.idempotency_key,
            saga.fingerprint,
            saga.request_id,
            saga.text,
        ),
    )
    if inserted.rowcount == 1:
        _insert_events(connection, saga.id, 1, [entry])
        return Stored()
    if connection.execute(_EPOCH, (saga.id,)).fetchone():
        return Stored()
    if saga.idempotency_key is not None:
        row = connection.execute(_BY_KEY, (saga.caller, saga.idempotency_key)).fetchone()
        if row is not None:
            return IdempotencyConflict(saga_id=row[0], fingerprint=row[1])
    row = connection.execute(_BY_ORDER, (saga.caller, saga.order_id)).fetchone()
    return None if row is None else BusinessKeyConflict(saga_id=row[0], status=SagaStatus(row[1]))


def _append(connection: sqlite3.Connection, entry: AppendEntry) -> Result:
    first = entry.events[0].seq
    stored = connection.execute(_EVENT_EPOCH, (entry.saga_id, first)).fetchone()
    if stored is not None:
        return Stored() if stored[0] == entry.epoch else SagaFenced()
    owned = connection.execute(_EPOCH, (entry.saga_id,)).fetchone()
    head = connection.execute(_HEAD, (entry.saga_id,)).fetchone()[0]
    if owned is None or owned[0] != entry.epoch or head != first - 1:
        return SagaFenced()
    if (change := entry.change) is not None:
        connection.execute(
            _CHANGE_SAGA,
            (
                entry.saga_id,
                entry.epoch,
                change.status.value,
                instant_text(entry.events[-1].at),
                change.finished_at and instant_text(change.finished_at),
                change.next_action_at and instant_text(change.next_action_at),
                change.park or change.status in INACTIVE,
                change.cancellable,
            ),
        )
    if (ended := event_name_for(change)) is not None:
        last = entry.events[-1]
        connection.execute(_TELL, (entry.saga_id, last.seq, ended.value, instant_text(last.at)))
    _insert_events(connection, entry.saga_id, entry.epoch, [entry])
    return Stored()


def _insert_events(
    connection: sqlite3.Connection, saga_id: str, epoch: int, entries: Sequence[Entry]
) -> None:
    for entry in entries:
        for event in [entry.event] if isinstance(entry, StartEntry) else entry.events:
            connection.execute(
                _INSERT_EVENT,
                (
                    saga_id,
                    event.seq,
                    epoch,
                    instant_text(event.at),
                    event.type.value,
                    event.step,
                    event.attempt,
                    event.text,
                ),
            )
