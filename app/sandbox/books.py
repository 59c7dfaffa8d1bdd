"""What each of the three services keeps: payments, reservations, shipments.

Books do the work and compensate it. That it is done once, and never after its compensation,
is up to the dispatcher. Books refuse before they write anything.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from app.gateway.port import JsonObject, Participant
from app.sandbox.request import (
    PaymentBody,
    Refusal,
    Request,
    ReservationBody,
    ShipmentBody,
    checked_body,
)
from app.sandbox.stores.store import Entry, Store


class Books(Protocol):
    """One service's trade."""

    def check(self, request: Request) -> None:
        """Raise `Refusal` for a body that can't be read."""

    def refusal(self, request: Request) -> Refusal:
        """Return how this trade usually refuses a request."""

    def do(self, store: Store, request: Request) -> JsonObject:
        """Do the work and return the resource; raise `Refusal` where it can't be done."""

    def undo(self, store: Store, reference: str, document: JsonObject) -> str:
        """Compensate the resource; return the word for how."""

    def effect(self, entries: Sequence[Entry]) -> dict[str, int]:
        """Return what a reference has come to, worked out from its entries alone; empty for nothing."""


class PaymentBooks:
    """Accounts in double entry: what leaves the customer is held or reaches the merchant."""

    def check(self, request: Request) -> None:
        checked_body(PaymentBody, request)

    def refusal(self, request: Request) -> Refusal:  # noqa: ARG002 (one port)
        return Refusal(402, "card_declined", "The card was declined.")

    def do(self, store: Store, request: Request) -> JsonObject:
        body = checked_body(PaymentBody, request)
        if body.payment_method == "tok_declined":
            raise self.refusal(request)
        now = body.capture == "immediate"
        movement, to = ("charge", "merchant") if now else ("authorize", "held")
        document: JsonObject = {
            "payment_id": f"pay_{made_id(request)}",
            "status": "captured" if now else "authorized",
            "amount": body.amount,
            "currency": body.currency,
        }
        _move(store, request.reference, movement, f"customer:{body.customer_id}", to, document)
        return document

    def capture(self, store: Store, reference: str, document: JsonObject) -> JsonObject:
        """Capture the money that is held; return the payment."""
        _move(store, reference, "capture", "held", "merchant", document)
        return {**document, "status": "captured"}

    def undo(self, store: Store, reference: str, document: JsonObject) -> str:
        movement, word, source = (
            ("refund", "refunded", "merchant")
            if document["status"] == "captured"
            else ("void", "voided", "held")
        )
        entries = store.entries(Participant.PAYMENT, reference)
        customer = next(account for _, account, *_ in entries if account.startswith("customer:"))
        _move(store, reference, movement, source, customer, document)
        return word

    def effect(self, entries: Sequence[Entry]) -> dict[str, int]:
        """What the customer has paid, by currency, held money included."""
        paid: Counter[str] = Counter()
        for _, account, amount, currency in entries:
            if account.startswith("customer:"):
                paid[currency] -= amount
        return _without_zeros(paid)


def _move(store: Store, reference: str, movement: str, source: str, to: str, payment: JsonObject) -> None:
    amount, currency = payment["amount"], payment["currency"]
    store.enter(
        Participant.PAYMENT,
        reference,
        (movement, source, -amount, currency),
        (movement, to, amount, currency),
    )


class StockBooks:
    """Goods on the shelf, which run out."""

    def __init__(self, initial_stock: int, stock: Mapping[str, int]) -> None:
        self._initial_stock = initial_stock
        self._stock = dict(stock)

    def check(self, request: Request) -> None:
        checked_body(ReservationBody, request)

    def refusal(self, request: Request) -> Refusal:
        return Refusal(409, "out_of_stock", "Not enough on the shelf.", skus=sorted(_wanted(request)))

    def do(self, store: Store, request: Request) -> JsonObject:
        wanted = _wanted(request)
        missing = [sku for sku, quantity in wanted.items() if self._available(store, sku) < quantity]
        if missing:
            raise Refusal(409, "out_of_stock", "Not enough on the shelf.", skus=missing)
        self._take(store, request.reference, wanted)
        return {"reservation_id": f"res_{made_id(request)}", "status": "reserved"}

    def undo(self, store: Store, reference: str, document: JsonObject) -> str:  # noqa: ARG002 (one port)
        reserved = self.effect(store.entries(Participant.INVENTORY, reference))
        self._take(store, reference, {sku: -taken for sku, taken in reserved.items()})
        return "released"

    def effect(self, entries: Sequence[Entry]) -> dict[str, int]:
        """Reserved quantities, by sku."""
        reserved: Counter[str] = Counter()
        for sku, quantity in entries:
            reserved[sku] += quantity
        return _without_zeros(reserved)

    def _available(self, store: Store, sku: str) -> int:
        if sku.startswith("OUT-OF-STOCK"):
            return 0
        left = store.available(sku)
        return self._stock.get(sku, self._initial_stock) if left is None else left

    def _take(self, store: Store, reference: str, quantities: Mapping[str, int]) -> None:
        for sku, quantity in quantities.items():
            store.set_available(sku, self._available(store, sku) - quantity)
        store.enter(Participant.INVENTORY, reference, *quantities.items())


def _wanted(request: Request) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for line in checked_body(ReservationBody, request).items:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    return wanted


class ShipmentBooks:
    """Parcels that were booked."""

    def check(self, request: Request) -> None:
        checked_body(ShipmentBody, request)

    def refusal(self, request: Request) -> Refusal:  # noqa: ARG002 (one port)
        return Refusal(422, "address_unserviceable", "Nothing is delivered to that address.")

    def do(self, store: Store, request: Request) -> JsonObject:
        if checked_body(ShipmentBody, request).address.get("country") == "XX":
            raise self.refusal(request)
        store.enter(Participant.SHIPPING, request.reference, (1,))
        made = made_id(request)
        return {
            "shipment_id": f"shp_{made}",
            "status": "booked",
            "carrier": "Sandbox Post",
            "tracking_number": f"SP_{made.upper()}",
        }

    def undo(self, store: Store, reference: str, document: JsonObject) -> str:  # noqa: ARG002 (one port)
        store.enter(Participant.SHIPPING, reference, (-1,))
        return "cancelled"

    def effect(self, entries: Sequence[Entry]) -> dict[str, int]:
        """How many parcels are on their way."""
        parcels = sum(parcels for (parcels,) in entries)
        return {"parcels": parcels} if parcels else {}


def _without_zeros(counted: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counted.items() if count}


def made_id(request: Request) -> str:
    """Return the id of what a request makes: made from the reference, so that runs can be compared."""
    name = f"{request.service}:{request.reference}"
    return hashlib.sha256(name.encode()).hexdigest()[:24]
