"""The sandbox's memory: three services' books in one SQLite file, or in memory.

The services are real: what they answered is still there after `kill -9`, and a reference that was closed
stays closed. Each request is one transaction:

    arrived ─▶ a fault? ─▶ closed, or standing already? ─▶ the books ─▶ applied ─▶ replied

`applied` is recorded only where something changed. `replied` says that an answer left the ledger;
whether it reached anybody, nobody here can know.
"""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from app.gateway.answer import Answer
from app.sandbox.dispatcher import Dispatcher
from app.sandbox.faults import Fault, Rule
from app.sandbox.records import Notes, Record, ReferenceState, read_records
from app.sandbox.request import Request, problem
from app.sandbox.schema import SCHEMA
from app.sqlite.file import SqliteFiles, connect_file, explained
from app.sqlite.write_ahead_log import switch_to_wal

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a request: its answer, None for silence, and the fault that struck it."""

    answer: Answer | None
    fault: Fault | None


class Ledger:
    """Carries requests out, one at a time: in a thread of its own where it waits for a disk.

    `database` is a file's path, which several processes may share, or ":memory:". A shelf that nobody
    has touched holds `stock[sku]`, or `initial_stock`.
    """

    def __init__(
        self,
        database: str = ":memory:",
        *,
        initial_stock: int = 1_000_000,
        stock: Mapping[str, int] | None = None,
    ) -> None:
        """Raise `SqliteFileError` where the file can't be opened."""
        self._dispatcher = Dispatcher(initial_stock=initial_stock, stock=stock or {})
        self._db = _opened(database)
        in_memory = database == ":memory:"
        self._files = None if in_memory else SqliteFiles(database)
        # Nobody else can read these books, so what happened becomes rows once it is asked for.
        self._in_memory = Notes() if in_memory else None
        self._worker = (
            None if in_memory else ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-ledger")
        )
        # A ledger that is dropped without being closed, as a sketch may do, leaves nothing open.
        self._close = weakref.finalize(self, _shut, self._worker, self._db)

    async def handle(
        self, request: Request, *, ordered: Rule | None = None, drawn: Fault | None = None
    ) -> Outcome:
        """Carry a request out; `ordered` and `drawn` are the faults that may strike it.

        A cancelled caller doesn't stop work that has started, as hanging up doesn't stop a service.
        """
        return await self._run(lambda: self._handled(request, ordered, drawn))

    async def apply_late(self, request: Request) -> None:
        """Carry out a request that arrived before; nobody hears the answer."""
        await self._run(lambda: self._applied_late(request))

    async def records(self, *, after: int = 0) -> list[Record]:
        """Return what happened, in order, from behind the record of that `seq`."""
        return await self._run(lambda: self._records(after))

    async def states(self) -> list[ReferenceState]:
        """Return the state of every reference that any service knows."""
        return await self._run(lambda: self._dispatcher.states(self._db))

    async def aclose(self) -> None:
        """Finish what has arrived, and close."""
        if self._close.alive:
            await self._run(self._db.close)
            self._close()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._worker is None:
            await asyncio.sleep(0)  # a call of a service lets others run, here too
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    @contextmanager
    def _transaction(self) -> Iterator[Notes]:
        """Work done inside is stored together with its notes, or not at all."""
        notes = Notes()
        if self._files is not None:
            self._files.check()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield notes
            if self._in_memory is None:
                notes.write(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        if self._files is not None:
            self._files.check()  # before anybody is answered
        if self._in_memory is not None:
            self._in_memory.add_all(notes)

    def _records(self, after: int) -> list[Record]:
        if self._in_memory is not None:
            self._in_memory.write(self._db)
        return read_records(self._db, after)

    def _handled(self, request: Request, ordered: Rule | None, drawn: Fault | None) -> Outcome:
        with self._transaction() as notes:
            fault = _fired(self._db, request, ordered) or drawn
            notes.add("arrived", request, fault=fault)
            answer = self._answer(request, notes, fault)
            if answer is not None:
                notes.add("replied", request, fault=fault, status=answer.status)
        return Outcome(answer=answer, fault=fault)

    def _answer(self, request: Request, notes: Notes, fault: Fault | None) -> Answer | None:
        match fault:
            case Fault.UNAVAILABLE:
                return problem(503, "unavailable", "The service is down.")
            case Fault.TIMEOUT_BEFORE_EFFECT | Fault.LATE_EFFECT:
                return None
            case Fault.TIMEOUT_AFTER_EFFECT:
                self._dispatcher.serve(self._db, request, notes, refuse=False)
                return None
        return self._dispatcher.serve(self._db, request, notes, refuse=fault is not None)

    def _applied_late(self, request: Request) -> None:
        with self._transaction() as notes:
            self._dispatcher.serve(self._db, request, notes, refuse=False)


def _fired(db: sqlite3.Connection, request: Request, ordered: Rule | None) -> Fault | None:
    """Return the ordered fault while it has not fired often enough, and count it."""
    if ordered is None or (action := request.verb.action) is None:
        return None
    if ordered.times is None:
        return ordered.fault
    (times,) = db.execute(
        "INSERT INTO fault_fired (service, reference, action, times) VALUES (?, ?, ?, 1)"
        " ON CONFLICT (service, reference, action) DO UPDATE SET times = times + 1 RETURNING times",
        (request.service, request.reference, action),
    ).fetchone()
    return ordered.fault if times <= ordered.times else None


def _opened(database: str) -> sqlite3.Connection:
    # The worker alone uses it; the thread that opens it, or finalises it, is another.
    if database == ":memory:":
        db = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        db.executescript(SCHEMA)
        return db
    db = connect_file(database, create=True, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        with explained(database):
            _set_up(db)
    except BaseException:
        db.close()
        raise
    return db


def _set_up(db: sqlite3.Connection) -> None:
    switch_to_wal(db.execute)
    # A killed process loses nothing so; the power may, and the sandbox is no bank.
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(SCHEMA)
    db.execute("BEGIN IMMEDIATE")  # another process may open the same file
    columns = {name for _, name, *_ in db.execute("PRAGMA table_info(record)")}
    if "at" not in columns:  # books of before, which are kept
        db.execute("ALTER TABLE record ADD COLUMN at INTEGER NOT NULL DEFAULT 0")
    db.execute("COMMIT")


def _shut(worker: ThreadPoolExecutor | None, db: sqlite3.Connection) -> None:
    if worker is not None:
        worker.shutdown(wait=False)
    db.close()
