"""A replica's way to the database: the port `SagaLog`, and the journal's `BatchWriter`, over connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from app.saga.model.errors import LogRefused, LogUnavailable, SagaError, SagaFenced
from app.saga.model.events import SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange, StartResult, StoredSaga
from app.saga.ports.log_checks import check_append, check_operate, check_start
from app.storage.journal.entries import AppendEntry, CommitUnknown, Entry, Result, StartEntry
from app.storage.journal.journal import Journal
from tests.simulation.loop import WORLD, Process
from tests.simulation.plan import AFTER, Fault
from tests.simulation.world import World

T = TypeVar("T")


class Broken(Exception):
    """The connection broke; `stored` is False where certainly nothing was done, None where nobody can tell."""

    def __init__(self, *, stored: bool | None) -> None:
        super().__init__("The connection broke.")
        self.stored = stored


class Line:
    """One process's connections to the database."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    async def ask(
        self, call: str, about: str, work: Callable[[], T], *, late: Callable[[], Any] | None = None
    ) -> T:
        """Have the database do `work` in one transaction; raise `Broken` where that can't be heard of.

        `late` is what it does of it once the asker has been told that the connection broke.
        """
        world, who = self._world, self._process.name
        after = await world.step(self._process)
        fault = world.faults.strike(f"database.{call}")
        kind = fault.kind if fault else ""
        if fault is not None and kind == "database_away" and fault.moment != AFTER:
            world.crash_database(fault.seconds)
        if world.database_down or kind == "database_refused":
            world.note(who, f"database.{call}", about, kind or "down")
            await asyncio.sleep(world.latency())
            raise Broken(stored=False)
        heard: asyncio.Future[tuple[Any, Exception | None]] = world.loop.create_future()
        delay = world.latency()
        if fault is not None and kind == "database_slow":
            delay += fault.seconds
            world.disturbed(delay)
        if fault is not None and kind == "database_late":
            world.disturbed(delay + fault.seconds)
            due = delay + fault.seconds
            world.loop.call_later(due, self._do, call, about, late or work, None, None, after, context=WORLD)
            await asyncio.sleep(delay)
            raise Broken(stored=None)
        world.loop.call_later(delay, self._do, call, about, work, heard, fault, after, context=WORLD)
        result, error = await heard
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def _do(
        self,
        call: str,
        about: str,
        work: Callable[[], Any],
        heard: asyncio.Future[tuple[Any, Exception | None]] | None,
        fault: Fault | None,
        after: Fault | None,
    ) -> None:
        """In the database: the transaction, and then the answer on its way back."""
        world, kind = self._world, fault.kind if fault else ""
        result: Any = None
        error: Exception | None = None
        outcome = "done"
        if world.database_down:
            error, outcome = Broken(stored=None), "down"
        else:
            try:
                result = work()
            except SagaError as refusal:
                error, outcome = refusal, type(refusal).__name__
        world.note(self._process.name, f"database.{call}", about, f"{outcome} {kind}")
        if kind == "database_lost_answer":
            error = Broken(stored=None)
        if fault is not None and kind == "database_away":
            world.crash_database(fault.seconds)
            error = Broken(stored=None)
        if after is not None:
            world.hit(after)
        if heard is not None:
            world.loop.call_later(world.latency(), self._hear, heard, (result, error), context=WORLD)

    @staticmethod
    def _hear(heard: asyncio.Future[tuple[Any, Exception | None]], answer: tuple[Any, Any]) -> None:
        if not heard.done():
            heard.set_result(answer)


class Writer:
    """The journal's writer. As `PostgresWriter` does, it ends what a broken connection left before it writes on.

    What a process left that died is ended by nobody, and may be stored long after.
    """

    def __init__(self, world: World, line: Line) -> None:
        self._world = world
        self._line = line
        self._connection = 0
        self._broken = False

    async def open(self) -> None:
        if self._world.database_down:
            raise CommitUnknown("The database is down.")

    async def probe(self) -> None: ...

    async def write(self, batch: Sequence[Entry], *, hurried: bool = False) -> list[Result | None]:  # noqa: ARG002 (the writer's port)
        batch = list(batch)
        about = " ".join(_named(entry) for entry in batch)
        self._connection += self._broken
        self._broken = False
        connection = self._connection

        def late() -> None:
            if connection == self._connection:
                self._world.database.write(batch)

        try:
            return await self._line.ask("write", about, lambda: self._world.database.write(batch), late=late)
        except Broken as error:
            self._broken = True
            raise CommitUnknown(str(error)) from None

    async def close(self) -> None: ...


def _named(entry: Entry) -> str:
    if isinstance(entry, StartEntry):
        return f"{entry.saga.id}:1"
    return f"{entry.saga_id}:{entry.epoch}:{entry.events[0].seq}:{entry.events[-1].type}"


class ReplicaLog:
    """The port to the saga log, as `SqlLog` fills it: appends through the journal, all else directly."""

    def __init__(self, world: World, line: Line, journal: Journal) -> None:
        self._world = world
        self._database = world.database
        self._line = line
        self._journal = journal

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        check_start(saga, event)
        result = await self._journal.write(StartEntry(saga=saga, event=event, owner=owner))
        if isinstance(result, SagaFenced | LogRefused):
            raise result
        return result

    async def append(
        self, saga_id: str, *, epoch: int, events: Sequence[SagaEvent], change: RowChange | None = None
    ) -> None:
        check_append(events, change)
        result = await self._journal.write(
            AppendEntry(saga_id=saga_id, epoch=epoch, events=tuple(events), change=change)
        )
        if isinstance(result, SagaFenced | LogRefused):
            raise result

    async def load(self, saga_id: str) -> StoredSaga | None:
        return await self._ask("load", saga_id, lambda: self._database.load(saga_id))

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        def work() -> list[StoredSaga]:
            claimed = self._database.claim(owner=owner, definitions=definitions, limit=limit)
            if claimed and (owner in self._world.gone or owner not in self._database.leases):
                self._world.deaths += 1  # they belong to a dead owner once more, without another death
            return claimed

        return await self._ask("claim", owner, work)

    async def request_cancel(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        return await self._ask(
            "request_cancel", saga_id, lambda: self._database.request_cancel(saga_id, request, seen=seen)
        )

    async def pending_cancellations(self, owner: str) -> dict[str, OperatorAction]:
        return await self._ask(
            "pending_cancellations", owner, lambda: self._database.pending_cancellations(owner)
        )

    async def operate(self, saga_id: str, *, epoch: int, event: SagaEvent, status: SagaStatus) -> None:
        check_operate(event, status)
        await self._ask(
            "operate",
            saga_id,
            lambda: self._database.operate(saga_id, epoch=epoch, event=event, status=status),
        )

    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        await self._ask("abandon", saga_id, lambda: self._database.abandon(saga_id, epoch=epoch, until=until))

    async def renew(self, owner: str, *, seconds: float) -> datetime:
        return await self._ask("renew", owner, lambda: self._database.renew(owner, seconds=seconds))

    async def release(self, owner: str) -> None:
        await self._ask("release", owner, lambda: self._database.release(owner))

    async def _ask(self, call: str, about: str, work: Callable[[], T]) -> T:
        try:
            return await self._line.ask(call, about, work)
        except Broken as error:
            raise LogUnavailable(str(error), stored=error.stored) from None
