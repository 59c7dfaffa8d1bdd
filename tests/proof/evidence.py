"""What a run leaves behind for the checker: answers of the API, and the services' ledgers. Nothing else.

A harness (simulation, crash, chaos) fills it; `tests.proof.invariants.check` judges it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
"""A JSON object, as it came."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiAnswer:
    """One answer of the checkout API, as a client got it.

    `order` is the body of the POST /checkout that it answers, None for a GET. `document` is the
    answer's body: a saga, a list's page, or problem details whose member `saga` may be a saga.
    """

    method: str
    path: str
    status: int
    document: Document
    idempotency_key: str | None = None
    order: Document | None = None

    @property
    def saga(self) -> Document | None:
        """The saga that it shows, if any."""
        shown = self.document.get("saga") or self.document
        return shown if isinstance(shown, Mapping) and "trail" in shown else None


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerLine:
    """One line of a service's ledger: a request arrived, was applied (changed something), or was replied to.

    `action` is execute, compensate, confirm or get. `status` is the reply's. `at` counts nanoseconds on
    the clock of the run, from whenever.
    """

    phase: str
    service: str
    action: str
    reference: str
    idempotency_key: str
    fingerprint: str
    status: int | None = None
    at: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerStanding:
    """What a reference has come to at a service: money by currency, goods by sku, parcels; empty for nothing."""

    service: str
    reference: str
    effect: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A whole run.

    `answers` are in the order in which they were received; where several clients asked at once, in
    any order that keeps each client's own. `lines` are of all three services, in one order of time.
    `standing` was asked at the end, when every late request had landed. `deaths` counts how often a
    process died, was stopped or lost its lease: nobody is taken over more often than that.
    `settled` says that the run waited for every saga to end, and then read each of them.
    `key_window` is for how many seconds the services know an idempotency key; None for ever.
    """

    answers: Sequence[ApiAnswer]
    lines: Sequence[LedgerLine]
    standing: Sequence[LedgerStanding]
    deaths: int | None = None
    settled: bool = True
    key_window: float | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that a run broke: its name, the saga or reference, and what was seen."""

    invariant: str
    about: str
    seen: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.about}: {self.seen}"


def lines_of(records: Sequence[Document]) -> list[LedgerLine]:
    """Return the services' records (`GET /records` of each, joined) as lines in one order of time."""
    ordered = sorted(records, key=lambda record: (record["at"], record["service"], record["seq"]))
    names = LedgerLine.__slots__
    return [LedgerLine(**{name: record[name] for name in names}) for record in ordered]


def standing_of(rows: Sequence[Document]) -> list[LedgerStanding]:
    """Return the services' `GET /standing`, joined."""
    return [
        LedgerStanding(service=row["service"], reference=row["reference"], effect=row["effect"])
        for row in rows
    ]


__all__ = [
    "ApiAnswer",
    "Document",
    "Evidence",
    "LedgerLine",
    "LedgerStanding",
    "Violation",
    "lines_of",
    "standing_of",
]
