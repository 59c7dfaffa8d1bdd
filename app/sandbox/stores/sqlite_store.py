"""The sandbox's books in a SQLite file, which several processes may share: what was answered survives `kill -9`."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

from app.gateway.port import GatewayVerb, JsonObject, Participant
from app.sandbox.faults import Fault
from app.sandbox.records import Phases, Record
from app.sandbox.request import Request
from app.sandbox.stores.schema import SCHEMA
from app.sandbox.stores.store import Entry, Stored
from app.sqlite.file import SqliteFiles, connect_file, explained
from app.sqlite.write_ahead_log import switch_to_wal


class SqliteStore:
    """A `Store` in a file. Its methods run within `transaction`, in one thread at a time."""

    def __init__(self, path: str) -> None:
        """Raise `SqliteFileError` where the file can't be opened."""
        # The ledger's worker alone uses it; the thread that opens it, or finalises it, is another.
        self._db = connect_file(path, create=True, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            with explained(path):
                _set_up(self._db)
        except BaseException:
            self._db.close()
            raise
        self._files = SqliteFiles(path)
        self._notes: list[tuple[object, ...]] = []

    def close_file(self) -> None:
        """Close the file; it may be closed already."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store what is written inside, all of it or nothing."""
        self._files.check()
        self._notes = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.executemany(_INSERT_NOTE, self._notes)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._files.check()  # before anybody is answered

    def find(self, service: Participant, reference: str) -> Stored | None:
        row = self._db.execute(
            "SELECT document, undone, fingerprint FROM resource WHERE service = ? AND reference = ?",
            (service.value, reference),
        ).fetchone()
        return None if row is None else _stored(*row)

    def make(self, request: Request, document: JsonObject) -> None:
        self._db.execute(
            "INSERT INTO resource (service, reference, state, fingerprint, document)"
            " VALUES (?, ?, 'standing', ?, ?)",
            (request.service.value, request.reference, request.fingerprint, json.dumps(document)),
        )

    def change(self, request: Request, document: JsonObject) -> None:
        self._db.execute(
            "UPDATE resource SET document = ? WHERE service = ? AND reference = ?",
            (json.dumps(document), request.service.value, request.reference),
        )

    def close(self, request: Request, compensated: str) -> None:
        self._db.execute(
            "INSERT INTO resource (service, reference, state, undone) VALUES (?, ?, 'closed', ?)"
            " ON CONFLICT (service, reference) DO UPDATE SET state = 'closed', undone = excluded.undone",
            (request.service.value, request.reference, compensated),
        )

    def enter(self, service: Participant, reference: str, *entries: Entry) -> None:
        table, columns = _ENTRIES[service]
        marks = ", ".join("?" * (1 + len(columns)))
        self._db.executemany(
            f"INSERT INTO {table} (reference, {', '.join(columns)}) VALUES ({marks})",  # noqa: S608 (our own names)
            [(reference, *entry) for entry in entries],
        )

    def entries(self, service: Participant, reference: str) -> Sequence[Entry]:
        table, columns = _ENTRIES[service]
        return self._db.execute(
            f"SELECT {', '.join(columns)} FROM {table} WHERE reference = ? ORDER BY seq",  # noqa: S608 (our own names)
            (reference,),
        ).fetchall()

    def available(self, sku: str) -> int | None:
        row = self._db.execute("SELECT available FROM stock WHERE sku = ?", (sku,)).fetchone()
        return None if row is None else int(row[0])

    def set_available(self, sku: str, quantity: int) -> None:
        self._db.execute(
            "INSERT INTO stock (sku, available) VALUES (?, ?)"
            " ON CONFLICT (sku) DO UPDATE SET available = excluded.available",
            (sku, quantity),
        )

    def count_fault(self, request: Request, action: GatewayVerb) -> int:
        (times,) = self._db.execute(
            "INSERT INTO fault_fired (service, reference, action, times) VALUES (?, ?, ?, 1)"
            " ON CONFLICT (service, reference, action) DO UPDATE SET times = times + 1 RETURNING times",
            (request.service.value, request.reference, action.value),
        ).fetchone()
        return int(times)

    def note(self, request: Request, phases: Phases, *, fault: Fault | None, status: int | None) -> None:
        at = time.monotonic_ns()
        for phase in phases:
            self._notes.append(
                (
                    at,
                    phase,
                    request.service.value,
                    (request.verb.action or request.verb).value,
                    request.reference,
                    request.idempotency_key,
                    request.fingerprint,
                    None if phase == "applied" else fault and fault.value,
                    status if phase == "replied" else None,
                )
            )

    def records(self, after: int) -> list[Record]:
        names = [field.name for field in fields(Record)]
        rows = self._db.execute(
            f"SELECT {', '.join(names)} FROM record WHERE seq > ? ORDER BY seq",  # noqa: S608 (our own names)
            (after,),
        )
        return [Record(**dict(zip(names, row, strict=True))) for row in rows]

    def resources(self) -> Iterable[tuple[Participant, str, Stored]]:
        rows = self._db.execute(
            "SELECT service, reference, document, undone, fingerprint FROM resource ORDER BY service, reference"
        ).fetchall()
        return [(Participant(service), reference, _stored(*stored)) for service, reference, *stored in rows]


_INSERT_NOTE = (
    "INSERT INTO record (at, phase, service, action, reference, idempotency_key, fingerprint, fault, status)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ENTRIES = {
    Participant.PAYMENT: ("account_entry", ("movement", "account", "amount", "currency")),
    Participant.INVENTORY: ("stock_entry", ("sku", "quantity")),
    Participant.SHIPPING: ("parcel_entry", ("parcels",)),
}


@dataclass(frozen=True, slots=True)
class _Row:
    document: JsonObject | None
    compensated: str | None
    fingerprint: str | None


def _stored(document: str | None, compensated: str | None, fingerprint: str | None) -> _Row:
    return _Row(None if document is None else json.loads(document), compensated, fingerprint)


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
