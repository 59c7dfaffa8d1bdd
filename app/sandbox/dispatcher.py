"""Dispatches requests to the three services: a reference is worked on once, and never after it was closed."""

from __future__ import annotations

from collections.abc import Mapping

from app.gateway.answer import Answer
from app.gateway.port import JsonObject, Participant
from app.sandbox.books import Books, PaymentBooks, ShipmentBooks, StockBooks
from app.sandbox.records import ReferenceState
from app.sandbox.request import Refusal, Request, Verb
from app.sandbox.stores.store import Store, Stored

Served = tuple[Answer, bool]
"""The answer, and whether something changed."""


class Dispatcher:
    """Answers requests by the contract, over a store."""

    def __init__(self, *, initial_stock: int, stock: Mapping[str, int]) -> None:
        self._payments = PaymentBooks()
        self._books: Mapping[Participant, Books] = {
            Participant.PAYMENT: self._payments,
            Participant.INVENTORY: StockBooks(initial_stock, stock),
            Participant.SHIPPING: ShipmentBooks(),
        }
        self._by_verb = {
            Verb.PUT: self._put,
            Verb.DELETE: self._delete,
            Verb.CAPTURE: self._capture,
            Verb.GET: self._get,
        }

    def serve(self, store: Store, request: Request, *, refuse: bool) -> Served:
        """Do the work. `refuse` applies only where there is work to do: a resource that exists is never denied."""
        stored = store.find(request.service, request.reference)
        try:
            return self._by_verb[request.verb](store, request, stored, refuse=refuse)
        except Refusal as refusal:
            return refusal.answer, False

    def _put(self, store: Store, request: Request, stored: Stored | None, *, refuse: bool) -> Served:
        books = self._books[request.service]
        books.check(request)
        if stored is not None:
            document = _existing(stored)
            if stored.fingerprint != request.fingerprint:
                raise Refusal(409, "reference_reused", "The reference was used with another body.")
            return Answer(status=200, document=document), False
        if refuse:
            raise books.refusal(request)
        document = books.do(store, request)
        store.make(request, document)
        return Answer(status=201, document=dict(document)), True

    def _delete(self, store: Store, request: Request, stored: Stored | None, *, refuse: bool) -> Served:
        if stored is not None and stored.compensated is not None:
            return Answer(status=200, document={"status": stored.compensated}), False
        if refuse:
            raise Refusal(409, "not_reversible", "It can't be compensated any more.")
        compensated = "closed"
        if stored is not None:
            compensated = self._books[request.service].undo(store, request.reference, _existing(stored))
        store.close(request, compensated)
        return Answer(status=200, document={"status": compensated}), True

    def _capture(self, store: Store, request: Request, stored: Stored | None, *, refuse: bool) -> Served:
        document = _existing(stored)
        if document.get("status") != "authorized":
            return Answer(status=200, document=document), False
        if refuse:
            raise self._books[request.service].refusal(request)
        document = self._payments.capture(store, request.reference, document)
        store.change(request, document)
        return Answer(status=200, document=dict(document)), True

    def _get(self, _store: Store, _request: Request, stored: Stored | None, *, refuse: bool) -> Served:  # noqa: ARG002 (one table)
        return Answer(status=200, document=_existing(stored)), False

    def states(self, store: Store) -> list[ReferenceState]:
        """Return the state of every reference that any service knows."""
        return [
            ReferenceState(
                service=service,
                reference=reference,
                closed=stored.compensated is not None,
                document=stored.document,
                undone=stored.compensated,
                effect=self._books[service].effect(store.entries(service, reference)),
            )
            for service, reference, stored in store.resources()
        ]


def _existing(stored: Stored | None) -> JsonObject:
    """Return the resource; raise `Refusal` where none exists, or none will."""
    if stored is None:
        raise Refusal(404, "not_found", "Nothing exists under that reference.")
    if stored.compensated is not None or stored.document is None:
        raise Refusal(410, "reference_closed", "The reference was closed.")
    return dict(stored.document)
