"""What outlives every process: the log, the services' books, the client who comes back, and what they saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TypeVar

from app.saga.model.errors import LogUnavailable
from app.saga.model.status import INACTIVE
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import SagaLog
from app.saga.ports.memory_log import MemoryLog
from app.sandbox import Ledger
from app.sandbox.stores.store import Store
from app.services import Sandbox
from tests.crash.boundary import LAPSES, Stop
from tests.crash.loop import WorldClock
from tests.crash.replica import LEASE_SECONDS, OpenLog, Replica
from tests.crash.scenarios import Scenario
from tests.processes import an_order
from tests.proof.evidence import ApiAnswer, Evidence, LedgerStanding, lines_of, standing_of

T = TypeVar("T")

REST_WITHIN_SECONDS = 300.0
LATE_SECONDS = 2.0


class Stranded(AssertionError):
    """The saga never came to rest, though a process lives that could run it."""


class InlineLedger(Ledger):
    """The books in memory, without a turn of the loop: a request is carried out while the loop waits for it."""

    async def _run(self, work: Callable[[Store], T]) -> T:
        assert self._memory is not None
        return work(self._memory)


class World:
    """One order, and the processes that come and go over it.

    A process that dies at its `Stop` is followed by another. `back_after` is how long the client waits
    before it comes back to the next one, so that a takeover may have happened by then.
    """

    back_after = LEASE_SECONDS + 3.0
    again_after = 3.0

    def __init__(
        self, scenario: Scenario, clock: SystemClock | WorldClock, open_log: OpenLog, name: str = "1"
    ) -> None:
        self.scenario = scenario
        self.clock = clock
        self.ledger = InlineLedger()
        self.sandbox = Sandbox(self.ledger, late_seconds=LATE_SECONDS)
        self.answers: list[ApiAnswer] = []
        self.replicas: list[Replica] = []
        self.stops = 0
        self._open_log = open_log
        self._order = an_order(f"ord-{name}", **scenario.order)
        self._key = f"key-{name}"
        self._breaks = [scenario.breaks] if scenario.breaks else []

    async def run(self, *stops: Stop) -> Evidence:
        """Let processes come and go, the first with the first stop, until one lives on; return what is left."""
        try:
            for stop in (*stops, None, None):
                replica = self.open(stop)
                outlived = await self._outlived(replica)
                await replica.process.bury()
                if outlived:
                    return await self.evidence()
                await self.after_death(replica)
            raise Stranded("No process could begin.")
        finally:
            await self.close()

    def open(self, stop: Stop | None = None) -> Replica:
        """Start another process."""
        self.replicas.append(
            Replica(
                "ABCDEF"[len(self.replicas)],
                self.scenario,
                open_log=self._open_log,
                sandbox=self.sandbox,
                clock=self.clock,
                breaks=self._breaks,
                stop=stop,
            )
        )
        return self.replicas[-1]

    async def serve(self, replica: Replica) -> bool:
        """Be the client of a process from its begin to its end in order; return whether it could begin."""
        try:
            await replica.ready()
        except LogUnavailable:
            return False
        await self.check_out(replica)
        await replica.close()
        return True

    async def check_out(self, replica: Replica) -> None:
        """Be the client till the saga is at rest and all that is late has arrived; then read it once more."""
        if replica is not self.replicas[0]:
            await asyncio.sleep(self.back_after)
        try:
            async with asyncio.timeout(REST_WITHIN_SECONDS):
                saga_id = await self._checked_out(replica)
        except TimeoutError:
            raise Stranded(f"Still not at rest: {self._last_seen()}") from None
        await self.sandbox.settled()
        self.answers.append(await replica.get(saga_id))
        while self.answers[-1].status != 200:
            await asyncio.sleep(self.again_after)
            self.answers.append(await replica.get(saga_id))

    async def after_death(self, replica: Replica) -> None:
        """Do what must be done before the next process begins."""

    async def evidence(self) -> Evidence:
        """Return what is left."""
        lines = lines_of([asdict(record) for record in await self.ledger.records()])
        return Evidence(answers=self.answers, lines=lines, standing=await self.states(), deaths=self.deaths)

    @property
    def deaths(self) -> int:
        """How often a saga may have been taken over: stops, owners that were born again, sagas given up."""
        again = sum(len(replica.owners) - 1 for replica in self.replicas if replica.owners)
        return self.stops + again + sum(replica.abandoned for replica in self.replicas)

    async def states(self) -> list[LedgerStanding]:
        """Return what stands at the services."""
        return standing_of([asdict(row) for row in await self.ledger.states()])

    async def close(self) -> None:
        """Clear everything away."""
        for replica in self.replicas:
            await replica.process.bury()
        await self.sandbox.aclose()

    async def _outlived(self, replica: Replica) -> bool:
        """Return whether a process came to its end in order."""
        served = asyncio.create_task(self.serve(replica))
        while not await self._ended(served, replica):
            self.stops += 1
            if replica.gate.stop is None or replica.gate.stop.mode not in LAPSES:
                served.cancel()
                await replica.process.bury()
                await asyncio.wait({served})
                return False
            await asyncio.sleep(LEASE_SECONDS + 1.0)
            replica.process.wake()
        return served.result()

    @staticmethod
    async def _ended(served: asyncio.Task[bool], replica: Replica) -> bool:
        """Return True once the client is through, False once the process is stopped."""
        stopped = asyncio.create_task(replica.process.stopped.wait())
        await asyncio.wait({served, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        return served.done()

    async def _checked_out(self, replica: Replica) -> str:
        while True:
            answer = await replica.post(self._order, self._key)
            self.answers.append(answer)
            if answer.saga is not None and answer.saga["status"] in INACTIVE:
                return str(answer.saga["id"])
            await asyncio.sleep(self.again_after)

    def _last_seen(self) -> str:
        shown = [answer.saga for answer in self.answers if answer.saga]
        return (
            f"{shown[-1]['status']} {[line['event'] for line in shown[-1]['trail']]}" if shown else "nothing"
        )


class VirtualWorld(World):
    """A world with a log in memory and time of its own."""

    def __init__(self, scenario: Scenario, clock: WorldClock, log: MemoryLog) -> None:
        self.log = log
        super().__init__(scenario, clock, self._open)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[SagaLog]:
        yield self.log
