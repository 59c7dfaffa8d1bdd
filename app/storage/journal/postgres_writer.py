"""Writes a batch to PostgreSQL: one statement, so one round trip and one commit, over asyncpg.

Fencing, at READ COMMITTED: an append that changes its saga's row does so `WHERE epoch = …`, which
waits for a claim under way and then sees its new epoch. An append that doesn't is one event; it
looks at the epoch without a lock, and if a claim is committed in between, that claim has written
its own event under the very seq, on which the primary key lets nobody else in.

Through a pooler that gives each transaction another connection it is a transaction of three round trips, with
its settings in it. A statement that was given up can't land later then, as nobody sends its COMMIT; and a COMMIT
that was given up holds the locks on what it stores, for which the same batch waits when it is written again. So
nothing need be ended there by its pid, which under a pooler is somebody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

import asyncpg

from app.saga.engine.tasks import end_tasks, uninterrupted
from app.saga.model.errors import SagaFenced
from app.saga.model.status import INACTIVE, SagaStatus
from app.saga.ports.log import BusinessKeyConflict, IdempotencyConflict, Stored
from app.storage.engine.database import COMMAND_SECONDS, CONNECT_SECONDS, Link, UnsafeDatabase
from app.storage.engine.faults import TO_BE_REPEATED, Blame, blame_of_state
from app.storage.engine.postgres_session import FORGETFUL_POOLER, beginning, of_forgetful_pooler
from app.storage.journal.entries import AppendEntry, CommitUnknown, Entry, RejectedBatch, Result, StartEntry
from app.storage.outbox.feed import event_name_for

T = TypeVar("T")
_Key = tuple[str, int, int]
"""What tells an entry from all others: its saga, its first seq, its epoch."""

Connect = Callable[[], Awaitable[Link]]

ANSWER_SECONDS = COMMAND_SECONDS
"""After this long without an answer the connection counts as broken."""

_WRITE = """
WITH new AS (
  INSERT INTO saga (id, status, order_id, customer_id, created_at, updated_at, next_action_at, owner,
                    epoch, definition, version, caller, idempotency_key, fingerprint, request_id, input)
  SELECT id, 'running', order_id, customer_id, at, at, at, owner,
         1, definition, version, caller, idempotency_key, fingerprint, request_id, input::json
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::int[],
              $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
    AS n(id, order_id, customer_id, at, owner, definition, version,
         caller, idempotency_key, fingerprint, request_id, input)
  ON CONFLICT DO NOTHING
  RETURNING id
), changed AS (
  UPDATE saga SET status = c.status, updated_at = c.at, finished_at = c.finished_at,
                  next_action_at = CASE WHEN c.cancellable AND saga.cancel IS NOT NULL THEN c.at
                                        ELSE c.next_action_at END,
                  owner = CASE WHEN c.free THEN NULL ELSE saga.owner END
  FROM unnest($13::uuid[], $14::int[], $15::text[], $16::timestamptz[], $17::timestamptz[],
              $18::timestamptz[], $19::bool[], $20::int[], $21::bool[])
    AS c(id, epoch, status, at, finished_at, next_action_at, free, follows, cancellable)
  WHERE saga.id = c.id AND saga.epoch = c.epoch
    AND EXISTS (SELECT FROM saga_log l WHERE l.saga_id = c.id AND l.seq = c.follows)
    AND NOT EXISTS (SELECT FROM saga_log l WHERE l.saga_id = c.id AND l.seq = c.follows + 1)
  RETURNING saga.id, saga.epoch, saga.caller
), told AS (
  INSERT INTO outbox (saga_id, seq, type, caller, at)
  SELECT changed.id, o.seq, o.type, changed.caller, o.at
  FROM unnest($32::uuid[], $33::int[], $34::int[], $35::text[], $36::timestamptz[])
    AS o(saga_id, epoch, seq, type, at)
    JOIN changed ON changed.id = o.saga_id AND changed.epoch = o.epoch
  ON CONFLICT DO NOTHING
)
INSERT INTO saga_log (saga_id, seq, epoch, at, event, step, attempt, data)
SELECT e.saga_id, e.seq, e.epoch, e.at, e.event, e.step, e.attempt, e.data::json
FROM unnest($22::uuid[], $23::int[], $24::int[], $25::timestamptz[], $26::text[], $27::text[], $28::int[],
            $29::text[], $30::int[], $31::int[])
  AS e(saga_id, seq, epoch, at, event, step, attempt, data, follows, kind)
WHERE CASE e.kind
  WHEN 0 THEN e.saga_id IN (SELECT id FROM new)
  WHEN 1 THEN (e.saga_id, e.epoch) IN (SELECT id, epoch FROM changed)
  ELSE (SELECT true FROM saga s WHERE s.id = e.saga_id AND s.epoch = e.epoch)
         AND (SELECT true FROM saga_log l WHERE l.saga_id = e.saga_id AND l.seq = e.follows)
END
ON CONFLICT DO NOTHING
RETURNING saga_id::text, seq, epoch
"""
"""The last two are scalar, not EXISTS: of an EXISTS, a table that was never analyzed is read as a whole into a hash."""

_INDEXES_ALONE = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""The plan must stay with the indexes, also when made while the tables were small."""

_PLANNED = "; ".join(
    f"SET {name} = {value}"
    for name, value in {"plan_cache_mode": "force_generic_plan", **_INDEXES_ALONE}.items()
)
_PLANNED_EACH_TIME = {"plan_cache_mode": "force_custom_plan", **_INDEXES_ALONE}
"""Through a pooler a plan is another session's by the next time."""

_STANDING = """
SELECT l.saga_id::text, l.seq, l.epoch
FROM unnest($1::uuid[], $2::int[]) AS e(saga_id, seq) JOIN saga_log l USING (saga_id, seq)
"""

_CONFIRM = "UPDATE saga SET epoch = epoch WHERE id = $1"
"""Any write: its commit waits for the same synchronous standby as all before it."""

_PROBE = "UPDATE schema_floor SET revision = revision"

HURRIED_LOCK_SECONDS = 0.2
REPEATS = 3
"""How often a batch is written again at once that PostgreSQL says to repeat."""

_WHO_AM_I = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END = """
SELECT CASE WHEN wait_event = 'SyncRep' THEN false ELSE pg_terminate_backend(pid, 3000) END
FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2
"""
"""A commit that waits for its standby is left alone: to end it shows everybody what no standby has."""
_LEFT = "SELECT false FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"

_BY_KEY = "SELECT id::text, fingerprint FROM saga WHERE caller = $1 AND idempotency_key = $2"
_BY_ORDER = (
    "SELECT id::text, status FROM saga WHERE caller = $1 AND order_id = $2 AND status <> 'compensated'"
)


class PostgresWriter:
    """One connection of its own; broken, it is made anew at the next write."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Link | None = None
        self._statement: Any = None
        self._batches = 0
        self._backend: tuple[int, datetime] | None = None
        self._left: list[tuple[int, datetime]] = []
        self._sent = False

    async def open(self) -> None:
        await self._guarded(self._ready)

    async def write(self, batch: Sequence[Entry], *, hurried: bool = False) -> list[Result | None]:
        for tries_left in reversed(range(REPEATS)):
            try:
                return await self._guarded(lambda: self._write(batch, hurried=hurried))
            except UnsafeDatabase as error:
                raise CommitUnknown(str(error)) from error
            except CommitUnknown as error:
                if not tries_left or getattr(error.__cause__, "sqlstate", None) not in TO_BE_REPEATED:
                    raise
        raise AssertionError  # the last try returns or raises

    async def probe(self) -> None:
        try:
            await self._guarded(self._probe)
        except (UnsafeDatabase, RejectedBatch) as error:
            raise CommitUnknown(str(error)) from error

    async def _probe(self) -> None:
        await (await self._ready()).execute(_PROBE)

    async def close(self) -> None:
        connection, self._connection, self._statement = self._connection, None, None
        if connection is not None:
            try:
                await connection.close(timeout=1)
            except (
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                OSError,
                TimeoutError,
            ):
                connection.terminate()

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The one seam where what the driver raises, or doesn't answer, becomes `CommitUnknown` or `RejectedBatch`."""
        seconds = ANSWER_SECONDS if self._connection else CONNECT_SECONDS + ANSWER_SECONDS
        self._sent = False
        task = asyncio.create_task(work())
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():
                await uninterrupted(self._hang_up(task))
        if not done:
            raise CommitUnknown(f"no answer for {seconds:g} s", blame=self._blame())
        try:
            return task.result()
        except (asyncpg.DataError, ValueError) as error:
            raise RejectedBatch(type(error).__name__) from error
        except asyncpg.PostgresError as error:
            blame = self._blame(error)
            if blame is Blame.ENTRY:
                raise RejectedBatch(type(error).__name__) from error
            self._break()
            if of_forgetful_pooler(error.sqlstate):
                raise CommitUnknown(FORGETFUL_POOLER) from error
            raise CommitUnknown(f"{type(error).__name__}: {error}", blame=blame) from error
        except (UnsafeDatabase, CommitUnknown):
            self._break()
            raise
        except Exception as error:
            # Whatever else a cut connection makes the driver raise (its own InternalClientError among it).
            self._break()
            raise CommitUnknown(f"{type(error).__name__}: {error}", blame=self._blame()) from error

    def _blame(self, error: asyncpg.PostgresError | None = None) -> Blame:
        """Whom a failure blames. Of a connection that broke once the batch was on its way nobody knows why."""
        if not self._sent:
            return Blame.MOMENT
        blame = Blame.MOMENT if error is None else blame_of_state(error.sqlstate)
        broken = error is None or (error.sqlstate or "").startswith("08")
        return Blame.UNKNOWN if broken else blame

    async def _hang_up(self, task: asyncio.Task[Any]) -> None:
        """Break the connection, and only then cancel who waits on it.

        The driver turns a time-out or a cancellation into a cancel request, which would end a COMMIT's
        wait for a synchronous standby: the server then calls committed what no standby has.
        """
        connected = self._connection is not None
        self._break()
        if connected:
            await asyncio.wait({task}, timeout=1)
        await end_tasks([task])
        self._break()

    def _break(self) -> None:
        connection, self._connection, self._statement = self._connection, None, None
        if connection is not None:
            connection.terminate()
        if self._backend is not None:
            self._left.append(self._backend)
            self._backend = None

    async def _ready(self) -> Link:
        if self._connection is None or self._connection.is_closed():
            connection = await self._connect()
            self._connection = connection
            if not connection.pooled:
                self._backend = tuple(await connection.fetchrow(_WHO_AM_I))
            await self._end_what_is_left(connection)
            if not connection.pooled:
                await connection.execute(_PLANNED)
            self._statement = await connection.prepare(_WRITE)
            self._batches = 0
        return self._connection

    async def _plan_anew(self, connection: Link) -> None:
        """Forget the plan whenever there are twice as many batches as when it was made.

        Of tables that were analyzed while they were empty all indexes look alike, and the plan may read a
        wrong one from end to end: it would get slower with each saga until they are analyzed again.
        """
        if self._batches.bit_count() == 1:  # 1, 2, 4, 8, …
            await connection.execute("DISCARD PLANS")
        self._batches += 1

    async def _end_what_is_left(self, connection: Link) -> None:
        """End the backends of connections that broke: their last statement must not land later.

        A batch that is written again may be answered otherwise than the first time, and then the first
        would store a saga of which its client was told that it was refused. Where a pooler has come in
        between, their end is waited for.
        """
        while self._left:
            ended = await connection.fetchval(_LEFT if connection.pooled else _END, *self._left[0])
            if ended is False:
                raise CommitUnknown("an earlier statement is still under way")
            self._left.pop(0)

    async def _write(self, batch: Sequence[Entry], *, hurried: bool) -> list[Result | None]:
        connection = await self._ready()
        self._sent = True
        if not connection.pooled and not hurried:
            await self._plan_anew(connection)
            return await self._stored(connection, batch)
        how = {"lock_timeout": f"{HURRIED_LOCK_SECONDS * 1000:.0f}ms"} if hurried else {}
        how |= _PLANNED_EACH_TIME if connection.pooled else {}
        await connection.execute(beginning(connection, how))
        try:
            results = await self._stored(connection, batch)
        except Exception:  # whatever it is: what comes next here mustn't be part of this transaction
            await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return results

    async def _stored(self, connection: Link, batch: Sequence[Entry]) -> list[Result | None]:
        starts = [entry for entry in batch if isinstance(entry, StartEntry)]
        appends = [entry for entry in batch if isinstance(entry, AppendEntry)]
        arguments = (
            *_columns(12, [_start_row(entry) for entry in starts]),
            *_columns(9, [row for entry in appends for row in _change_rows(entry)]),
            *_columns(10, [row for entry in batch for row in _event_rows(entry)]),
            *_columns(5, [row for entry in appends for row in _outbox_rows(entry)]),
        )
        rows = await self._statement.fetch(*arguments)
        stored = {(saga_id, seq, epoch) for saga_id, seq, epoch in rows}
        missing = [entry for entry in batch if _key(entry) not in stored]
        found = await self._look_up(connection, missing) if missing else {}
        return [Stored() if _key(entry) in stored else found[_key(entry)] for entry in batch]

    async def _look_up(self, connection: Link, entries: list[Entry]) -> dict[_Key, Result | None]:
        """Tell of entries that were not stored now whether they stood already, or who was there first."""
        rows = await connection.fetch(
            _STANDING,
            [_id(e) for e in entries],
            [_seq(e) for e in entries],
        )
        epochs = {(saga_id, seq): epoch for saga_id, seq, epoch in rows}
        found: dict[_Key, Result | None] = {}
        for entry in entries:
            epoch = epochs.get((_id(entry), _seq(entry)))
            if isinstance(entry, AppendEntry):
                found[_key(entry)] = Stored() if epoch == entry.epoch else SagaFenced()
            elif epoch is not None:
                found[_key(entry)] = Stored()
            else:
                found[_key(entry)] = await self._first_there(connection, entry)
        stood = [*filter(None, (_standing(entry, found[_key(entry)]) for entry in entries))]
        if stood:
            # Somebody stored them earlier, and nobody knows whether that COMMIT has waited for the standby.
            await connection.execute(_CONFIRM, stood[0])
        return found

    @staticmethod
    async def _first_there(connection: Link, entry: StartEntry) -> Result | None:
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


def _columns(width: int, rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _key(entry: Entry) -> _Key:
    return _id(entry), _seq(entry), 1 if isinstance(entry, StartEntry) else entry.epoch


def _id(entry: Entry) -> str:
    return entry.saga.id if isinstance(entry, StartEntry) else entry.saga_id


def _standing(entry: Entry, result: Result | None) -> str | None:
    """Return the saga that a result acknowledges, if any."""
    match result:
        case Stored():
            return _id(entry)
        case IdempotencyConflict(saga_id=saga_id) | BusinessKeyConflict(saga_id=saga_id):
            return saga_id
    return None


def _seq(entry: Entry) -> int:
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


def _change_rows(entry: AppendEntry) -> list[tuple[Any, ...]]:
    change = entry.change
    if change is None:
        return []
    at: datetime = entry.events[-1].at
    free = change.park or change.status in INACTIVE
    return [
        (
            entry.saga_id,
            entry.epoch,
            change.status.value,
            at,
            change.finished_at,
            change.next_action_at,
            free,
            entry.events[0].seq - 1,
            change.cancellable,
        )
    ]


def _outbox_rows(entry: AppendEntry) -> list[tuple[Any, ...]]:
    ended = event_name_for(entry.change)
    last = entry.events[-1]
    return [] if ended is None else [(entry.saga_id, entry.epoch, last.seq, ended.value, last.at)]


def _event_rows(entry: Entry) -> list[tuple[Any, ...]]:
    """`kind` tells what lets an event in: 0 its saga's insert, 1 its saga's change, 2 the epoch alone."""
    if isinstance(entry, StartEntry):
        saga_id, epoch, events, kind = entry.saga.id, 1, [entry.event], 0
    else:
        saga_id, epoch, events = entry.saga_id, entry.epoch, list(entry.events)
        kind = 2 if entry.change is None else 1
    follows = events[0].seq - 1
    return [
        (
            saga_id,
            event.seq,
            epoch,
            event.at,
            event.type.value,
            event.step,
            event.attempt,
            event.text,
            follows,
            kind,
        )
        for event in events
    ]
