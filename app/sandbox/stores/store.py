"""The port to what the three services write: in this process's memory, or in a file.

Each service keeps entries of its own kind under a reference; what a reference has come to is worked out from them.

    payment    (movement, account, amount, currency)   double entry: each movement's amounts sum to nothing
    inventory  (sku, quantity)                         reserved; a release is negative
    shipping   (parcels,)                              booked; a cancellation is negative
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from app.gateway.port import GatewayVerb, JsonObject, Participant
from app.sandbox.faults import Fault
from app.sandbox.records import Phases, Record
from app.sandbox.request import Request

Entry = tuple[Any, ...]


class Stored(Protocol):
    """What is kept of a reference at one service."""

    @property
    def document(self) -> JsonObject | None:
        """The resource, as it is or was; None where nothing ever existed. It isn't the reader's to change."""

    @property
    def compensated(self) -> str | None:
        """How it was compensated; None where it exists."""

    @property
    def fingerprint(self) -> str | None:
        """Of the body that made it; None where nothing ever existed."""


class Store(Protocol):
    """What the services write, a request at a time: all that a request wrote, or nothing."""

    def find(self, service: Participant, reference: str) -> Stored | None:
        """Return what is kept of a reference, None where it is unknown."""

    def make(self, request: Request, document: JsonObject) -> None:
        """Keep a new resource."""

    def change(self, request: Request, document: JsonObject) -> None:
        """Keep a resource as it is now."""

    def close(self, request: Request, compensated: str) -> None:
        """Close a reference, known or not, for good."""

    def enter(self, service: Participant, reference: str, *entries: Entry) -> None:
        """Append entries."""

    def entries(self, service: Participant, reference: str) -> Sequence[Entry]:
        """Return a reference's entries, in their order."""

    def available(self, sku: str) -> int | None:
        """Return what is on a shelf, None where nobody has touched it."""

    def set_available(self, sku: str, quantity: int) -> None:
        """Set what is on a shelf."""

    def count_fault(self, request: Request, action: GatewayVerb) -> int:
        """Count a fault that was ordered for a reference's action; return how often it has been."""

    def note(self, request: Request, phases: Phases, *, fault: Fault | None, status: int | None) -> None:
        """Record what happened to a request."""

    def records(self, after: int) -> list[Record]:
        """Return what happened, in order, from behind the record of that `seq`."""

    def resources(self) -> Iterable[tuple[Participant, str, Stored]]:
        """Return every reference that any service knows, by service and reference."""
