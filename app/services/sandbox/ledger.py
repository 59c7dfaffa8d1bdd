"""The sandbox's memory: three services' books in one SQLite file, or in memory.

The services are real: what they answered stands after `kill -9`, and a reference that was closed
stays closed. Each request is one transaction:

    arrived ─▶ a fault? ─▶ closed, or standing already? ─▶ the books ─▶ applied ─▶ replied

`applied` is recorded only where something changed. `replied` says that an answer left the ledger;
whether it reached anybody, nobody here can know.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from app.services.answer import Answer
from app.services.gateway import JsonObject, Service
from app.services.sandbox.books import Books, PaymentBooks, ShipmentBooks, StockBooks
from app.services.sandbox.faults import Fault, Rule
from app.services.sandbox.request import Refusal, Request, Verb, problem
from app.services.sandbox.schema import SCHEMA

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of what happened: a request arrived, was applied, or was replied to."""

    seq: int
    phase: str
    service: str
    verb: str
    reference: str
    idempotency_key: str
    fingerprint: str
    fault: str | None
    status: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a reference stands at a service.

    `document` is what the service says; `effect` is worked out from the entries alone: money by
    currency, goods by sku, parcels. A closed reference has no effect.
    """

    service: str
    reference: str
    closed: bool
    document: JsonObject | None
    undone: str | None
    effect: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a request: its answer, None for silence, and the fault that struck it."""

    answer: Answer | None
    fault: Fault | None


class Ledger:
    """Carries requests out, one at a time, in a thread of its own.

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
        """Raise `sqlite3.Error` where the file can't be opened."""
        self._payments = PaymentBooks()
        self._books: Mapping[Service, Books] = {
            Service.PAYMENT: self._payments,
            Service.INVENTORY: StockBooks(initial_stock, stock or {}),
            Service.SHIPPING: ShipmentBooks(),
        }
        self._db = _opened(database)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-ledger")
        # Who drops a ledger without closing it, as a sketch may, leaves nothing open all the same.
        self._close = weakref.finalize(self, _shut, self._worker, self._db)

    async def handle(self, request: Request, *, ordered: Rule | None = None, drawn: Fault | None = None) -> Outcome:
        """Carry a request out; `ordered` and `drawn` are the faults that may strike it.

        A caller that is cancelled doesn't stop it, as hanging up doesn't stop a service.
        """
        return await self._run(lambda: self._handled(request, ordered, drawn))

    async def apply_late(self, request: Request) -> None:
        """Carry out a request that arrived before; nobody hears the answer."""
        await self._run(lambda: self._applied_late(request))

    async def records(self, *, after: int = 0) -> list[Record]:
        """Return what happened, in order, from behind the record of that `seq`."""
        return await self._run(lambda: self._read_records(after))

    async def standing(self) -> list[Standing]:
        """Return how every reference stands that any service knows."""
        return await self._run(self._read_standing)

    async def aclose(self) -> None:
        """Finish what has arrived, and close."""
        if self._close.alive:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._db.close)
            self._close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _handled(self, request: Request, ordered: Rule | None, drawn: Fault | None) -> Outcome:
        with self._transaction() as db:
            fault = _fired(db, request, ordered) or drawn
            _record(db, "arrived", request, fault=fault)
            answer = self._answer(db, request, fault)
            if answer is not None:
                _record(db, "replied", request, fault=fault, status=answer.status)
        return Outcome(answer=answer, fault=fault)

    def _answer(self, db: sqlite3.Connection, request: Request, fault: Fault | None) -> Answer | None:
        match fault:
            case Fault.UNAVAILABLE:
                return problem(503, "unavailable", "The service is down.")
            case Fault.TIMEOUT_BEFORE_EFFECT | Fault.LATE_EFFECT:
                return None
            case Fault.TIMEOUT_AFTER_EFFECT:
                self._served(db, request, refuse=False)
                return None
        return self._served(db, request, refuse=fault is not None)

    def _applied_late(self, request: Request) -> None:
        with self._transaction() as db:
            self._served(db, request, refuse=False)

    def _served(self, db: sqlite3.Connection, request: Request, *, refuse: bool) -> Answer:
        """Do what is asked. `refuse` strikes only where there is work to do: what stands is never denied."""
        row = db.execute(
            "SELECT state, fingerprint, document, undone FROM resource WHERE service = ? AND reference = ?",
            (request.service, request.reference),
        ).fetchone()
        stored = None if row is None else _Stored(*row)
        try:
            match request.verb:
                case Verb.PUT:
                    return self._put(db, request, stored, refuse=refuse)
                case Verb.DELETE:
                    return self._delete(db, request, stored, refuse=refuse)
                case Verb.CAPTURE:
                    return self._capture(db, request, stored, refuse=refuse)
                case Verb.GET:
                    return Answer(status=200, document=_standing(stored))
        except Refusal as refusal:
            return refusal.answer

    def _put(self, db: sqlite3.Connection, request: Request, stored: _Stored | None, *, refuse: bool) -> Answer:
        books = self._books[request.service]
        books.check(request)
        if stored is not None:
            document = _standing(stored)
            if stored.fingerprint != request.fingerprint:
                raise Refusal(409, "reference_reused", "The reference was used with another body.")
            return Answer(status=200, document=document)
        if refuse:
            raise books.refusal()
        document = books.do(db, request)
        db.execute(
            "INSERT INTO resource (service, reference, state, fingerprint, document)"
            " VALUES (?, ?, 'standing', ?, ?)",
            (request.service, request.reference, request.fingerprint, json.dumps(document)),
        )
        _record(db, "applied", request)
        return Answer(status=201, document=document)

    def _delete(
        self, db: sqlite3.Connection, request: Request, stored: _Stored | None, *, refuse: bool
    ) -> Answer:
        if stored is not None and stored.undone is not None:
            return Answer(status=200, document={"status": stored.undone})
        if refuse:
            raise Refusal(409, "not_reversible", "It can't be undone any more.")
        undone = "closed"
        if stored is not None:
            undone = self._books[request.service].undo(db, request.reference, _standing(stored))
        db.execute(
            "INSERT INTO resource (service, reference, state, undone) VALUES (?, ?, 'closed', ?)"
            " ON CONFLICT (service, reference) DO UPDATE SET state = 'closed', undone = excluded.undone",
            (request.service, request.reference, undone),
        )
        _record(db, "applied", request)
        return Answer(status=200, document={"status": undone})

    def _capture(
        self, db: sqlite3.Connection, request: Request, stored: _Stored | None, *, refuse: bool
    ) -> Answer:
        document = _standing(stored)
        if document.get("status") == "authorized":
            if refuse:
                raise self._books[request.service].refusal()
            document = self._payments.capture(db, request.reference, document)
            db.execute(
                "UPDATE resource SET document = ? WHERE service = ? AND reference = ?",
                (json.dumps(document), request.service, request.reference),
            )
            _record(db, "applied", request)
        return Answer(status=200, document=document)

    def _read_records(self, after: int) -> list[Record]:
        columns = "seq, phase, service, verb, reference, idempotency_key, fingerprint, fault, status"
        rows = self._db.execute(f"SELECT {columns} FROM record WHERE seq > ? ORDER BY seq", (after,))  # noqa: S608
        return [Record(**dict(zip(columns.split(", "), row, strict=True))) for row in rows]

    def _read_standing(self) -> list[Standing]:
        rows = self._db.execute(
            "SELECT service, reference, state, document, undone FROM resource ORDER BY service, reference"
        ).fetchall()
        return [
            Standing(
                service=service,
                reference=reference,
                closed=state == "closed",
                document=json.loads(document) if document else None,
                undone=undone,
                effect=self._books[Service(service)].effect(self._db, reference),
            )
            for service, reference, state, document, undone in rows
        ]


@dataclass(frozen=True, slots=True)
class _Stored:
    state: str
    fingerprint: str | None
    document: str | None
    undone: str | None


def _standing(stored: _Stored | None) -> JsonObject:
    """Return what stands; raise `Refusal` where nothing does, or nothing will."""
    if stored is None:
        raise Refusal(404, "not_found", "Nothing stands under that reference.")
    if stored.state == "closed" or stored.document is None:
        raise Refusal(410, "reference_closed", "The reference was closed.")
    document: JsonObject = json.loads(stored.document)
    return document


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


def _record(
    db: sqlite3.Connection, phase: str, request: Request, *, fault: Fault | None = None, status: int | None = None
) -> None:
    db.execute(
        "INSERT INTO record (phase, service, verb, reference, idempotency_key, fingerprint, fault, status)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            phase,
            request.service,
            request.verb,
            request.reference,
            request.idempotency_key,
            request.fingerprint,
            fault,
            status,
        ),
    )


def _opened(database: str) -> sqlite3.Connection:
    # The worker alone uses it; the thread that opens it, or finalises it, is another.
    db = sqlite3.connect(database, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("PRAGMA journal_mode = WAL")
    # A killed process loses nothing so; the power may, and the sandbox is no bank.
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(SCHEMA)
    return db


def _shut(worker: ThreadPoolExecutor, db: sqlite3.Connection) -> None:
    worker.shutdown(wait=False)
    db.close()
