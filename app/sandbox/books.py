"""What each of the three services keeps: payments, reservations, shipments.

Books do the work and compensate it. That it is done once, and never after its compensation,
is up to the ledger, which calls them inside its transaction. Books refuse before they
write anything.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from app.gateway.port import JsonObject
from app.sandbox.request import (
    PaymentBody,
    Refusal,
    Request,
    ReservationBody,
    ShipmentBody,
    checked_body,
)


class Books(Protocol):
    """One service's trade."""

    def check(self, request: Request) -> None:
        """Raise `Refusal` for a body that can't be read."""

    def refusal(self, request: Request) -> Refusal:
        """Return how this trade usually refuses a request."""

    def do(self, db: sqlite3.Connection, request: Request) -> JsonObject:
        """Do the work and return the resource; raise `Refusal` where it can't be done."""

    def undo(self, db: sqlite3.Connection, reference: str, document: JsonObject) -> str:
        """Compensate the resource; return the word for how."""

    def effect(self, db: sqlite3.Connection, reference: str) -> dict[str, int]:
        """Return what the reference has come to, worked out from the entries alone; empty for nothing."""


class PaymentBooks:
    """Accounts in double entry: what leaves the customer is held or reaches the merchant."""

    def check(self, request: Request) -> None:
        checked_body(PaymentBody, request)

    def refusal(self, request: Request) -> Refusal:  # noqa: ARG002 (one port)
        return Refusal(402, "card_declined", "The card was declined.")

    def do(self, db: sqlite3.Connection, request: Request) -> JsonObject:
        body = checked_body(PaymentBody, request)
        if body.payment_method == "tok_declined":
            raise self.refusal(request)
        now = body.capture == "immediate"
        movement, to = ("charge", "merchant") if now else ("authorize", "held")
        customer = f"customer:{body.customer_id}"
        document: JsonObject = {
            "payment_id": made_id("pay", request),
            "status": "captured" if now else "authorized",
            "amount": body.amount,
            "currency": body.currency,
        }
        _move(db, request.reference, movement, customer, to, document)
        return document

    def capture(self, db: sqlite3.Connection, reference: str, document: JsonObject) -> JsonObject:
        """Capture the money that is held; return the payment."""
        _move(db, reference, "capture", "held", "merchant", document)
        return {**document, "status": "captured"}

    def undo(self, db: sqlite3.Connection, reference: str, document: JsonObject) -> str:
        movement, word, source = (
            ("refund", "refunded", "merchant")
            if document["status"] == "captured"
            else ("void", "voided", "held")
        )
        (customer,) = db.execute(
            "SELECT account FROM account_entry WHERE reference = ? AND account LIKE 'customer:%' LIMIT 1",
            (reference,),
        ).fetchone()
        _move(db, reference, movement, source, customer, document)
        return word

    def effect(self, db: sqlite3.Connection, reference: str) -> dict[str, int]:
        """What the customer has paid, by currency, held money included."""
        rows = db.execute(
            "SELECT currency, -sum(amount) FROM account_entry"
            " WHERE reference = ? AND account LIKE 'customer:%' GROUP BY currency",
            (reference,),
        )
        return {currency: paid for currency, paid in rows if paid}


def _move(
    db: sqlite3.Connection, reference: str, movement: str, source: str, to: str, payment: JsonObject
) -> None:
    amount, currency = payment["amount"], payment["currency"]
    db.executemany(
        "INSERT INTO account_entry (reference, movement, account, amount, currency) VALUES (?, ?, ?, ?, ?)",
        [(reference, movement, source, -amount, currency), (reference, movement, to, amount, currency)],
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

    def do(self, db: sqlite3.Connection, request: Request) -> JsonObject:
        wanted = _wanted(request)
        missing = [sku for sku, quantity in wanted.items() if self._available(db, sku) < quantity]
        if missing:
            raise Refusal(409, "out_of_stock", "Not enough on the shelf.", skus=missing)
        self._take(db, request.reference, wanted)
        return {"reservation_id": made_id("res", request), "status": "reserved"}

    def undo(self, db: sqlite3.Connection, reference: str, document: JsonObject) -> str:  # noqa: ARG002 (one port)
        self._take(db, reference, {sku: -taken for sku, taken in self.effect(db, reference).items()})
        return "released"

    def effect(self, db: sqlite3.Connection, reference: str) -> dict[str, int]:
        """Reserved quantities, by sku."""
        rows = db.execute(
            "SELECT sku, sum(quantity) FROM stock_entry WHERE reference = ? GROUP BY sku", (reference,)
        )
        return {sku: taken for sku, taken in rows if taken}

    def _available(self, db: sqlite3.Connection, sku: str) -> int:
        if sku.startswith("OUT-OF-STOCK"):
            return 0
        row = db.execute("SELECT available FROM stock WHERE sku = ?", (sku,)).fetchone()
        return int(row[0]) if row else self._stock.get(sku, self._initial_stock)

    def _take(self, db: sqlite3.Connection, reference: str, quantities: Mapping[str, int]) -> None:
        for sku, quantity in quantities.items():
            db.execute(
                "INSERT INTO stock (sku, available) VALUES (?, ?)"
                " ON CONFLICT (sku) DO UPDATE SET available = excluded.available",
                (sku, self._available(db, sku) - quantity),
            )
            db.execute(
                "INSERT INTO stock_entry (reference, sku, quantity) VALUES (?, ?, ?)",
                (reference, sku, quantity),
            )


def _wanted(request: Request) -> Counter[str]:
    wanted: Counter[str] = Counter()
    for line in checked_body(ReservationBody, request).items:
        wanted[line.sku] += line.quantity
    return wanted


class ShipmentBooks:
    """Parcels that were booked."""

    def check(self, request: Request) -> None:
        checked_body(ShipmentBody, request)

    def refusal(self, request: Request) -> Refusal:  # noqa: ARG002 (one port)
        return Refusal(422, "address_unserviceable", "Nothing is delivered to that address.")

    def do(self, db: sqlite3.Connection, request: Request) -> JsonObject:
        if checked_body(ShipmentBody, request).address.get("country") == "XX":
            raise self.refusal(request)
        _count_parcel(db, request.reference, 1)
        return {
            "shipment_id": made_id("shp", request),
            "status": "booked",
            "carrier": "Sandbox Post",
            "tracking_number": made_id("SP", request).upper(),
        }

    def undo(self, db: sqlite3.Connection, reference: str, document: JsonObject) -> str:  # noqa: ARG002 (one port)
        _count_parcel(db, reference, -1)
        return "cancelled"

    def effect(self, db: sqlite3.Connection, reference: str) -> dict[str, int]:
        """How many parcels are on their way."""
        (parcels,) = db.execute(
            "SELECT coalesce(sum(parcels), 0) FROM parcel_entry WHERE reference = ?", (reference,)
        ).fetchone()
        return {"parcels": parcels} if parcels else {}


def _count_parcel(db: sqlite3.Connection, reference: str, parcels: int) -> None:
    db.execute("INSERT INTO parcel_entry (reference, parcels) VALUES (?, ?)", (reference, parcels))


def made_id(prefix: str, request: Request) -> str:
    """Return the id of what a request makes: made from the reference, so that runs can be compared."""
    name = f"{request.service}:{request.reference}"
    return f"{prefix}_{hashlib.sha256(name.encode()).hexdigest()[:24]}"
