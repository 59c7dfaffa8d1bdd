"""The sandbox's records, for tests and checks: each request, and the state of each reference."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, fields

from app.gateway.port import JsonObject
from app.sandbox.faults import Fault
from app.sandbox.request import Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of what happened: a request arrived, was applied, or was replied to.

    `at` counts nanoseconds of the machine's monotonic clock, so that the books of services that run
    side by side can be put into one order.
    """

    seq: int
    at: int
    phase: str
    service: str
    action: str
    reference: str
    idempotency_key: str
    fingerprint: str
    fault: str | None
    status: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceState:
    """The state of a reference at a service.

    `document` is what the service says; `effect` is worked out from the entries alone: money by
    currency, goods by sku, parcels. A closed reference has no effect.
    """

    service: str
    reference: str
    closed: bool
    document: JsonObject | None
    undone: str | None
    effect: dict[str, int]


class Notes:
    """What happened in a transaction, written at its end with one statement."""

    def __init__(self) -> None:
        self._rows: list[tuple[object, ...]] = []

    def add(
        self, phase: str, request: Request, *, fault: Fault | None = None, status: int | None = None
    ) -> None:
        """Append a line."""
        self._rows.append(
            (
                time.monotonic_ns(),
                phase,
                request.service.value,
                (request.verb.action or request.verb).value,
                request.reference,
                request.idempotency_key,
                request.fingerprint,
                fault and fault.value,
                status,
            )
        )

    def add_all(self, notes: Notes) -> None:
        """Append another's lines."""
        self._rows.extend(notes._rows)

    def write(self, db: sqlite3.Connection) -> None:
        """Store the lines in their order, once."""
        db.executemany(
            "INSERT INTO record (at, phase, service, action, reference, idempotency_key, fingerprint, fault, status)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._rows,
        )
        self._rows = []


def read_records(db: sqlite3.Connection, after: int) -> list[Record]:
    """Return what happened, in order, from behind the record of that `seq`."""
    rows = db.execute(
        "SELECT seq, at, phase, service, action, reference, idempotency_key, fingerprint, fault, status"
        " FROM record WHERE seq > ? ORDER BY seq",
        (after,),
    )
    names = [field.name for field in fields(Record)]
    return [Record(**dict(zip(names, row, strict=True))) for row in rows]
