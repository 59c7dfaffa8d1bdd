"""Carries a plan of faults out: each at its event, with what sets it right again going on beside the next one."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass

from tests.chaos.storm.clients import Clients, Count
from tests.chaos.storm.cluster import Cluster
from tests.chaos.storm.plan import Fault, Kind, Plan
from tests.chaos.storm.processes import ServerProcess

STOPPED_FOR_REQUESTS = 40
"""How many requests of clients come to an end while a service or the database is frozen or stopped."""

LATER_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """A replica died or froze at `at` (Unix time), and owned these unfinished sagas then."""

    at: float
    saga_ids: frozenset[str]


class FaultInjector:
    """What has happened so far: which faults were carried out, who died, how many zombies woke."""

    def __init__(self, plan: Plan, cluster: Cluster, clients: Clients) -> None:
        self.hit: Counter[Kind] = Counter()
        self.victims: Counter[str] = Counter()
        self.deaths: list[Death] = []
        self.zombies = 0
        self.over_at = 0.0
        self._plan = plan
        self._cluster = cluster
        self._clients = clients

    async def inject(self) -> None:
        """Fire the faults; return when everybody is up again. Those that the load's end left out aren't hit."""
        async with asyncio.TaskGroup() as aftermath:
            for fault in self._plan.faults:
                if not await self._reached(self._clients.accepted, fault.at):
                    break
                aftermath.create_task(await self._fired(fault))
                self.hit[fault.kind] += 1
        self.over_at = time.time()

    async def _fired(self, fault: Fault) -> Coroutine[None, None, None]:
        """Do it, and return what is to be done after it."""
        if fault.kind is Kind.RESTART_DATABASE:
            await self._cluster.stop_database()
            return self._database_comes_back()
        victim = await self._cluster.first_up(fault.victims)
        pid, at = victim.pid, time.time()
        if fault.kind is Kind.KILL:
            victim.kill()
            following = self._restart(victim, pid, at)
        else:
            victim.stop()
            following = self._wakes(victim, pid, at)
        self.victims[f"{fault.kind} {'replica' if self._is_replica(victim) else 'service'}"] += 1
        return following

    async def _database_comes_back(self) -> None:
        await self._reached(self._clients.asked, self._clients.asked.value + STOPPED_FOR_REQUESTS)
        await self._cluster.start_database()

    async def _restart(self, victim: ServerProcess, pid: int, at: float) -> None:
        if self._is_replica(victim):
            await asyncio.gather(self._record_death(pid, at), victim.start())
        else:
            await victim.start()

    async def _wakes(self, victim: ServerProcess, pid: int, at: float) -> None:
        """A replica wakes when others have all that was its own; a service when its callers have lost patience."""
        if self._is_replica(victim):
            while not await self._record_death(pid, at) and not self._clients.finished.is_set():
                victim.wake()  # it owned nothing, so it would be no zombie: a little later
                await asyncio.sleep(LATER_SECONDS)
                victim.stop()
                at = time.time()
            await self._cluster.taken_over(pid)
            self.zombies += 1
        else:
            await self._reached(self._clients.asked, self._clients.asked.value + STOPPED_FOR_REQUESTS)
        victim.wake()

    async def _record_death(self, pid: int, at: float) -> bool:
        """Note what a replica left behind, and return whether that is anything."""
        owned = await self._cluster.owned_by(pid)
        self.deaths.append(Death(at=at, saga_ids=owned))
        return bool(owned)

    async def _reached(self, count: Count, number: int) -> bool:
        """Wait for the n-th event; False where the load ends before."""
        reaching = asyncio.ensure_future(count.reach(number))
        ending = asyncio.ensure_future(self._clients.finished.wait())
        try:
            await asyncio.wait({reaching, ending}, return_when=asyncio.FIRST_COMPLETED)
            return reaching.done()
        finally:
            reaching.cancel()
            ending.cancel()

    def _is_replica(self, process: ServerProcess) -> bool:
        return process in self._cluster.replicas
