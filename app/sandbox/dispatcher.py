"""Dispatches requests to the three services: a reference is worked on once, and never after it was closed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from app.gateway.answer import Answer
from app.gateway.port import JsonObject, Participant
from app.sandbox.books import Books, PaymentBooks, ShipmentBooks, StockBooks
from app.sandbox.records import Notes, ReferenceState
from app.sandbox.request import Refusal, Request, Verb


class Dispatcher:
    """Answers requests by the contract. It is called inside a transaction and starts none."""

    def __init__(self, *, initial_stock: int, stock: Mapping[str, int]) -> None:
        self._payments = PaymentBooks()
        self._books: Mapping[Participant, Books] = {
            Participant.PAYMENT: self._payments,
            Participant.INVENTORY: StockBooks(initial_stock, stock),
            Participant.SHIPPING: ShipmentBooks(),
        }

    def serve(self, db: sqlite3.Connection, request: Request, notes: Notes, *, refuse: bool) -> Answer:
        """Do the work and record it. `refuse` applies only where there is work to do: a resource that exists is never denied."""
        row = db.execute(
            "SELECT state, fingerprint, document, undone FROM resource WHERE service = ? AND reference = ?",
            (request.service, request.reference),
        ).fetchone()
        stored = None if row is None else _Stored(*row)
        try:
            match request.verb:
                case Verb.PUT:
                    return self._put(db, request, notes, stored, refuse=refuse)
                case Verb.DELETE:
                    return self._delete(db, request, notes, stored, refuse=refuse)
                case Verb.CAPTURE:
                    return self._capture(db, request, notes, stored, refuse=refuse)
                case Verb.GET:
                    return Answer(status=200, document=_existing(stored))
        except Refusal as refusal:
            return refusal.answer

    def _put(
        self,
        db: sqlite3.Connection,
        request: Request,
        notes: Notes,
        stored: _Stored | None,
        *,
        refuse: bool,
    ) -> Answer:
        books = self._books[request.service]
        books.check(request)
        if stored is not None:
            document = _existing(stored)
            if stored.fingerprint != request.fingerprint:
                raise Refusal(409, "reference_reused", "The reference was used with another body.")
            return Answer(status=200, document=document)
        if refuse:
            raise books.refusal(request)
        document = books.do(db, request)
        db.execute(
            "INSERT INTO resource (service, reference, state, fingerprint, document)"
            " VALUES (?, ?, 'standing', ?, ?)",
            (request.service, request.reference, request.fingerprint, json.dumps(document)),
        )
        notes.add("applied", request)
        return Answer(status=201, document=document)

    def _delete(
        self,
        db: sqlite3.Connection,
        request: Request,
        notes: Notes,
        stored: _Stored | None,
        *,
        refuse: bool,
    ) -> Answer:
        if stored is not None and stored.compensated is not None:
            return Answer(status=200, document={"status": stored.compensated})
        if refuse:
            raise Refusal(409, "not_reversible", "It can't be compensated any more.")
        compensated = "closed"
        if stored is not None:
            compensated = self._books[request.service].undo(db, request.reference, _existing(stored))
        db.execute(
            "INSERT INTO resource (service, reference, state, undone) VALUES (?, ?, 'closed', ?)"
            " ON CONFLICT (service, reference) DO UPDATE SET state = 'closed', undone = excluded.undone",
            (request.service, request.reference, compensated),
        )
        notes.add("applied", request)
        return Answer(status=200, document={"status": compensated})

    def _capture(
        self,
        db: sqlite3.Connection,
        request: Request,
        notes: Notes,
        stored: _Stored | None,
        *,
        refuse: bool,
    ) -> Answer:
        document = _existing(stored)
        if document.get("status") == "authorized":
            if refuse:
                raise self._books[request.service].refusal(request)
            document = self._payments.capture(db, request.reference, document)
            db.execute(
                "UPDATE resource SET document = ? WHERE service = ? AND reference = ?",
                (json.dumps(document), request.service, request.reference),
            )
            notes.add("applied", request)
        return Answer(status=200, document=document)

    def states(self, db: sqlite3.Connection) -> list[ReferenceState]:
        """Return the state of every reference that any service knows."""
        rows = db.execute(
            "SELECT service, reference, state, document, undone FROM resource ORDER BY service, reference"
        ).fetchall()
        return [
            ReferenceState(
                service=service,
                reference=reference,
                closed=state == "closed",
                document=json.loads(document) if document else None,
                undone=compensated,
                effect=self._books[Participant(service)].effect(db, reference),
            )
            for service, reference, state, document, compensated in rows
        ]


@dataclass(frozen=True, slots=True)
class _Stored:
    state: str
    fingerprint: str | None
    document: str | None
    compensated: str | None


def _existing(stored: _Stored | None) -> JsonObject:
    """Return the resource; raise `Refusal` where none exists, or none will."""
    if stored is None:
        raise Refusal(404, "not_found", "Nothing exists under that reference.")
    if stored.state == "closed" or stored.document is None:
        raise Refusal(410, "reference_closed", "The reference was closed.")
    document: JsonObject = json.loads(stored.document)
    return document
