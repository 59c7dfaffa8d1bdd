"""The sandbox's books in this process's memory: nothing is written, parsed or rendered that nobody reads.

They are bounded. A saga is settled for the sandbox when each of its services has done its work, or when nothing
exists under its reference any more. Of those, the last `limit` are remembered, and of what is still under way ten
times as many; the oldest are forgotten, as if they had never been.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from app.gateway.port import GatewayVerb, JsonObject, Participant
from app.sandbox.faults import Fault
from app.sandbox.records import Phases, Record
from app.sandbox.request import Request, Verb, fingerprint_of, unpacked
from app.sandbox.stores.store import Entry, Store, Stored

T = TypeVar("T")

NOTES_PER_SAGA = 4
UNSETTLED_FACTOR = 10


class MemoryStore:
    """A `Store` for the services whose resources a saga has together."""

    def __init__(self, services: Iterable[Participant], *, limit: int) -> None:
        self._services = len(set(services))
        self._limit = limit
        self._unsettled: OrderedDict[str, _Saga] = OrderedDict()
        self._settled: OrderedDict[str, _Saga] = OrderedDict()
        self._available: OrderedDict[str, int] = OrderedDict()
        self._faults: OrderedDict[tuple[Participant, str, GatewayVerb], int] = OrderedDict()
        self._notes: deque[_Note] = deque()
        self._first_seq = 1

    def run(self, work: Callable[[Store], T]) -> T:
        """Return what `work` does."""
        return work(self)

    def find(self, service: Participant, reference: str) -> Stored | None:
        saga = self._unsettled.get(reference) or self._settled.get(reference)
        return saga.kept.get(service) if saga is not None else None

    def make(self, request: Request, document: JsonObject) -> None:
        saga = self._saga(request.reference)
        self._kept(saga, request).made(request.packed, document)
        saga.existing += 1
        self._place(request.reference, saga)

    def change(self, request: Request, document: JsonObject) -> None:
        self._kept(self._saga(request.reference), request).document = document

    def close(self, request: Request, compensated: str) -> None:
        saga = self._saga(request.reference)
        kept = self._kept(saga, request)
        if kept.exists:
            saga.existing -= 1
        kept.compensated = compensated
        self._place(request.reference, saga)

    def enter(self, service: Participant, reference: str, *entries: Entry) -> None:
        saga = self._saga(reference)
        kept = saga.kept.get(service)
        if kept is None:
            kept = saga.kept[service] = _Kept()
        kept.entries += entries

    def entries(self, service: Participant, reference: str) -> Sequence[Entry]:
        kept: Any = self.find(service, reference)
        return kept.entries if kept is not None else ()

    def available(self, sku: str) -> int | None:
        return self._available.get(sku)

    def set_available(self, sku: str, quantity: int) -> None:
        self._available[sku] = quantity
        _trim(self._available, self._limit * UNSETTLED_FACTOR)

    def count_fault(self, request: Request, action: GatewayVerb) -> int:
        key = (request.service, request.reference, action)
        times = self._faults[key] = self._faults.get(key, 0) + 1
        _trim(self._faults, self._limit * UNSETTLED_FACTOR)
        return times

    def note(self, request: Request, phases: Phases, *, fault: Fault | None, status: int | None) -> None:
        self._notes.append(
            (
                time.monotonic_ns(),
                phases,
                request.service,
                request.verb,
                request.reference,
                request.idempotency_key,
                # One that was refused is read here, as nobody has kept its body.
                request.packed if status is None or status < 300 else request.fingerprint,
                fault,
                status,
            )
        )
        if len(self._notes) > self._limit * NOTES_PER_SAGA:
            self._first_seq += len(self._notes.popleft()[1])

    def records(self, after: int) -> list[Record]:
        found, seq = [], self._first_seq
        for at, phases, service, verb, reference, key, body, fault, status in self._notes:
            for phase in phases:
                if seq > after:
                    applied = phase == "applied"
                    found.append(
                        Record(
                            seq=seq,
                            at=at,
                            phase=phase,
                            service=service.value,
                            action=(verb.action or verb).value,
                            reference=reference,
                            idempotency_key=key,
                            fingerprint=body if isinstance(body, str) else fingerprint_of(unpacked(body)),
                            fault=None if applied or fault is None else fault.value,
                            status=status if phase == "replied" else None,
                        )
                    )
                seq += 1
        return found

    def resources(self) -> Iterable[tuple[Participant, str, Stored]]:
        sagas = sorted({**self._settled, **self._unsettled}.items())
        return [
            (service, reference, kept)
            for service in sorted(Participant)
            for reference, saga in sagas
            if (kept := saga.kept.get(service)) is not None
        ]

    def _saga(self, reference: str) -> _Saga:
        saga = self._unsettled.get(reference) or self._settled.get(reference)
        if saga is None:
            saga = self._unsettled[reference] = _Saga()
            _trim(self._unsettled, self._limit * UNSETTLED_FACTOR)
        return saga

    def _kept(self, saga: _Saga, request: Request) -> _Kept:
        kept = saga.kept.get(request.service)
        if kept is None:
            kept = saga.kept[request.service] = _Kept()
        return kept

    def _place(self, reference: str, saga: _Saga) -> None:
        """Put a saga among the settled ones, or take it from them."""
        settled = saga.existing in (0, self._services)
        if settled is (reference in self._settled):
            return
        to, source = (self._settled, self._unsettled) if settled else (self._unsettled, self._settled)
        to[reference] = source.pop(reference)
        _trim(self._settled, self._limit)


_Note = tuple[int, Phases, Participant, Verb, str, str, "bytes | str", Fault | None, int | None]


class _Saga:
    """What is kept under a reference, by service; `existing` counts the resources that exist."""

    __slots__ = ("existing", "kept")

    def __init__(self) -> None:
        self.kept: dict[Participant, _Kept] = {}
        self.existing = 0


class _Kept:
    """One service's `Stored`, with its entries."""

    __slots__ = ("compensated", "document", "entries", "packed")

    def __init__(self) -> None:
        self.packed: bytes | None = None
        self.document: JsonObject | None = None
        self.compensated: str | None = None
        self.entries: tuple[Entry, ...] = ()

    def made(self, packed: bytes, document: JsonObject) -> None:
        self.packed, self.document = packed, document

    @property
    def exists(self) -> bool:
        return self.document is not None and self.compensated is None

    @property
    def fingerprint(self) -> str | None:
        return None if self.packed is None else fingerprint_of(unpacked(self.packed))


def _trim(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
