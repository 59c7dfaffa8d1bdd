"""The sandbox's records, for tests and checks: each request, and the state of each reference."""

from __future__ import annotations

from dataclasses import dataclass

from app.gateway.port import JsonObject

Phases = tuple[str, ...]
"""What happened to a request, in its order; each becomes a record of its own."""


def phases(*, arrived: bool, applied: bool, replied: bool) -> Phases:
    """Return what happened to a request: `applied` where something changed, `replied` where it was answered."""
    return _PHASES[arrived, applied, replied]


_PHASES: dict[tuple[bool, bool, bool], Phases] = {
    (False, True, False): ("applied",),
    (True, False, False): ("arrived",),
    (True, False, True): ("arrived", "replied"),
    (True, True, False): ("arrived", "applied"),
    (True, True, True): ("arrived", "applied", "replied"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of what happened: a request arrived, was applied, or was replied to.

    `at` counts nanoseconds of the machine's monotonic clock, so that the books of services that run
    side by side can be put into one order. A request is carried out at one time.
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
