"""The sandbox's memory: three services' books, in this process or in one SQLite file.

In a file the services are real: what they answered is still there after `kill -9`, and a reference that was closed
stays closed. In memory they are gone with the process, effects and all.

    arrived ─▶ a fault? ─▶ closed, or existing already? ─▶ the books ─▶ applied ─▶ replied

`applied` is recorded only where something changed. `replied` says that an answer left the ledger;
whether it reached anybody, nobody here can know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from app.gateway.answer import Answer
from app.gateway.port import Participant
from app.sandbox.dispatcher import Dispatcher, Served
from app.sandbox.faults import Fault, Rule
from app.sandbox.records import Record, ReferenceState, phases
from app.sandbox.request import Request, problem
from app.sandbox.stores.file_worker import FileWorker
from app.sandbox.stores.memory_store import MemoryStore
from app.sandbox.stores.shared_store import SharedStore
from app.sandbox.stores.store import Store

T = TypeVar("T")

IN_MEMORY = ":memory:"


class LedgerClosed(Exception):
    """The sandbox has been closed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: its answer, None for silence, and the fault that struck it."""

    answer: Answer | None
    fault: Fault | None


class Ledger:
    """Carries requests out, one at a time.

    `database` is a file's path, which several processes may share, or ":memory:". A shelf that nobody
    has touched holds `stock[sku]`, or `initial_stock`. In memory, the last `remembered_sagas` that are settled
    are remembered: those for which each of `services` has done its work, or none has any more. With `shared_by`,
    a file's path, the memory is that of all processes which name it.
    """

    def __init__(
        self,
        database: str = IN_MEMORY,
        *,
        initial_stock: int = 1_000_000,
        stock: Mapping[str, int] | None = None,
        services: Iterable[Participant] = tuple(Participant),
        remembered_sagas: int = 10_000,
        shared_by: str | None = None,
    ) -> None:
        """Raise `SqliteFileError` where the file can't be opened."""
        self._dispatcher = Dispatcher(initial_stock=initial_stock, stock=stock or {})
        self._memory: MemoryStore | None = None
        self._file: FileWorker | None = None
        if database == IN_MEMORY and shared_by is not None:
            self._memory = SharedStore(shared_by, services, limit=remembered_sagas)
        elif database == IN_MEMORY:
            self._memory = MemoryStore(services, limit=remembered_sagas)
        else:
            self._file = FileWorker(database)

    async def handle(
        self, request: Request, *, ordered: Rule | None = None, drawn: Fault | None = None
    ) -> Outcome:
        """Carry a request out; `ordered` and `drawn` are the faults that may strike it.

        A cancelled caller doesn't stop work that has started, as hanging up doesn't stop a service.
        """
        return await self._run(partial(self._handled, request, ordered, drawn))

    async def apply_late(self, request: Request) -> None:
        """Carry out a request that arrived before; nobody hears the answer."""
        await self._run(partial(self._applied_late, request))

    async def records(self, *, after: int = 0) -> list[Record]:
        """Return what happened, in order, from behind the record of that `seq`."""
        return await self._run(lambda store: store.records(after))

    async def states(self) -> list[ReferenceState]:
        """Return the state of every reference that any service knows."""
        return await self._run(self._dispatcher.states)

    async def aclose(self) -> None:
        """Finish what has arrived, and close."""
        if isinstance(self._memory, SharedStore):
            self._memory.close_file()
        self._memory = None
        if self._file is not None:
            await self._file.aclose()

    async def _run(self, work: Callable[[Store], T]) -> T:
        if self._file is not None:
            return await self._file.run(work)
        await asyncio.sleep(0)  # a call of a service lets others run, here too
        if self._memory is None:
            raise LedgerClosed
        return self._memory.run(work)

    def _handled(self, request: Request, ordered: Rule | None, drawn: Fault | None, store: Store) -> Outcome:
        _ = request.packed  # what can't be kept breaks here, before anything is written
        fault = (ordered and _fired(store, request, ordered)) or drawn
        answer, applied = self._served(store, request, fault)
        silent = fault in _SILENT
        happened = phases(arrived=True, applied=applied, replied=not silent)
        store.note(request, happened, fault=fault, status=None if silent else answer.status)
        return Outcome(None if silent else answer, fault)

    def _served(self, store: Store, request: Request, fault: Fault | None) -> Served:
        match fault:
            case None:
                return self._dispatcher.serve(store, request, refuse=False)
            case Fault.UNAVAILABLE | Fault.TIMEOUT_BEFORE_EFFECT | Fault.LATE_EFFECT:
                return problem(503, "unavailable", "The service is down."), False
        return self._dispatcher.serve(store, request, refuse=fault not in _SILENT)

    def _applied_late(self, request: Request, store: Store) -> None:
        _, applied = self._dispatcher.serve(store, request, refuse=False)
        if applied:
            happened = phases(arrived=False, applied=True, replied=False)
            store.note(request, happened, fault=None, status=None)


_SILENT = frozenset({Fault.TIMEOUT_BEFORE_EFFECT, Fault.LATE_EFFECT, Fault.TIMEOUT_AFTER_EFFECT})


def _fired(store: Store, request: Request, ordered: Rule) -> Fault | None:
    """Return the ordered fault while it has not fired often enough, and count it."""
    if (action := request.verb.action) is None:
        return None
    if ordered.times is not None and store.count_fault(request, action) > ordered.times:
        return None
    return ordered.fault
