"""Writes a batch to PostgreSQL: one statement, so one round trip and one commit, over asyncpg.

Through a pooler that gives each transaction another connection it is a transaction of three round trips, with
its settings in it. A statement that timed out can't take effect later then, as its COMMIT is never sent; and a COMMIT
that timed out holds the locks on what it stores, for which the same batch waits when it is written again. So
no backend is terminated there by its pid, which under a pooler may be another client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

import asyncpg

from app.saga.background.tasks import end_tasks, uninterrupted
from app.storage.engine.database import UnsafeDatabase
from app.storage.engine.faults import TO_BE_REPEATED, Blame, blame_of_state
from app.storage.engine.postgres_connector import COMMAND_SECONDS, CONNECT_SECONDS
from app.storage.engine.postgres_session import (
    FORGETFUL_POOLER,
    NoCancelConnection,
    beginning,
    of_forgetful_pooler,
)
from app.storage.journal.entries import CommitUnknown, Entry, RejectedBatch, Result
from app.storage.journal.postgres_batch import WRITE_BATCH, store

T = TypeVar("T")
Connect = Callable[[], Awaitable[NoCancelConnection]]

ANSWER_SECONDS = COMMAND_SECONDS
"""After this long without an answer the connection counts as broken."""

_INDEXES_ALONE = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""The plan must stay with the indexes, also when made while the tables were small."""

_PLANNED = "; ".join(
    f"SET {name} = {value}"
    for name, value in {"plan_cache_mode": "force_generic_plan", **_INDEXES_ALONE}.items()
)
_PLANNED_EACH_TIME = {"plan_cache_mode": "force_custom_plan", **_INDEXES_ALONE}
"""Through a pooler a plan is another session's by the next time."""

_PROBE = "UPDATE schema_floor SET revision = revision"

HURRIED_LOCK_SECONDS = 0.2
REPEATS = 3
"""How often a batch is written again at once that PostgreSQL says to repeat."""

_WHO_AM_I = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_TERMINATE = """
SELECT CASE WHEN wait_event = 'SyncRep' THEN false ELSE pg_terminate_backend(pid, 3000) END
FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2
"""
"""A commit that waits for its standby is left alone: to end it shows everybody what no standby has."""
_STILL_RUNNING = "SELECT false FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"


class PostgresWriter:
    """Owns one connection. After it broke, the next write opens another."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: NoCancelConnection | None = None
        self._statement: Any = None
        self._batches = 0
        self._backend: tuple[int, datetime] | None = None
        self._stale_backends: list[tuple[int, datetime]] = []
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
                await uninterrupted(self._abort(task))
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
            self._discard_connection()
            if of_forgetful_pooler(error.sqlstate):
                raise CommitUnknown(FORGETFUL_POOLER) from error
            raise CommitUnknown(f"{type(error).__name__}: {error}", blame=blame) from error
        except (UnsafeDatabase, CommitUnknown):
            self._discard_connection()
            raise
        except Exception as error:
            # Whatever else a cut connection makes the driver raise (its own InternalClientError among it).
            self._discard_connection()
            raise CommitUnknown(f"{type(error).__name__}: {error}", blame=self._blame()) from error

    def _blame(self, error: asyncpg.PostgresError | None = None) -> Blame:
        """Return what a failure blames. Why a connection broke after the batch was sent is unknown."""
        if not self._sent:
            return Blame.MOMENT
        blame = Blame.MOMENT if error is None else blame_of_state(error.sqlstate)
        broken = error is None or (error.sqlstate or "").startswith("08")
        return Blame.UNKNOWN if broken else blame

    async def _abort(self, task: asyncio.Task[Any]) -> None:
        """Drop the connection, and only then cancel the task that waits on it.

        The driver turns a time-out or a cancellation into a cancel request, which would end a COMMIT's
        wait for a synchronous standby: the server then calls committed what no standby has.
        """
        connected = self._connection is not None
        self._discard_connection()
        if connected:
            await asyncio.wait({task}, timeout=1)
        await end_tasks([task])
        self._discard_connection()

    def _discard_connection(self) -> None:
        connection, self._connection, self._statement = self._connection, None, None
        if connection is not None:
            connection.terminate()
        if self._backend is not None:
            self._stale_backends.append(self._backend)
            self._backend = None

    async def _ready(self) -> NoCancelConnection:
        if self._connection is None or self._connection.is_closed():
            connection = await self._connect()
            self._connection = connection
            if not connection.pooled:
                self._backend = tuple(await connection.fetchrow(_WHO_AM_I))
            await self._terminate_stale_backends(connection)
            if not connection.pooled:
                await connection.execute(_PLANNED)
            self._statement = await connection.prepare(WRITE_BATCH)
            # The driver leaves the transaction of a PREPARE open, which would lock the tables until the first batch.
            await connection.execute("SELECT")
            self._batches = 0
        return self._connection

    async def _refresh_plan(self, connection: NoCancelConnection) -> None:
        """Discard the plan whenever there are twice as many batches as when it was made.

        Of tables that were analyzed while they were empty all indexes look alike, and the plan may read a
        wrong one from end to end: it would get slower with each saga until they are analyzed again.
        """
        if self._batches.bit_count() == 1:  # 1, 2, 4, 8, …
            await connection.execute("DISCARD PLANS")
        self._batches += 1

    async def _terminate_stale_backends(self, connection: NoCancelConnection) -> None:
        """Terminate the backends of connections that broke: their last statement must not land later.

        A batch that is written again may get another result than the first time, and then the first
        would store a saga whose client got a refusal. Behind a pooler it waits for their end instead.
        """
        while self._stale_backends:
            ended = await connection.fetchval(
                _STILL_RUNNING if connection.pooled else _TERMINATE, *self._stale_backends[0]
            )
            if ended is False:
                raise CommitUnknown("an earlier statement is still running")
            self._stale_backends.pop(0)

    async def _write(self, batch: Sequence[Entry], *, hurried: bool) -> list[Result | None]:
        connection = await self._ready()
        self._sent = True
        if not connection.pooled and not hurried:
            await self._refresh_plan(connection)
            return await store(connection, self._statement, batch)
        how = {"lock_timeout": f"{HURRIED_LOCK_SECONDS * 1000:.0f}ms"} if hurried else {}
        how |= _PLANNED_EACH_TIME if connection.pooled else {}
        await connection.execute(beginning(connection, how))
        try:
            results = await store(connection, self._statement, batch)
        except Exception:  # whatever it is: what comes next here mustn't be part of this transaction
            await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return results
