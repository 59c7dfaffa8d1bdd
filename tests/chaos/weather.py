"""Carries a plan of faults out: each at its event, with what sets it right again going on beside the next one."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass

from tests.chaos.cast import Cast
from tests.chaos.clients import Clients, Count
from tests.chaos.members import Member
from tests.chaos.plan import Fault, Kind, Plan

STANDS_STILL_FOR = 40
"""How many requests of clients come to an end while a service or the database stands still."""

LATER_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """A replica died or froze at `at` (Unix time), and owned these unfinished sagas then."""

    at: float
    saga_ids: frozenset[str]


class Weather:
    """What has happened so far: which faults were carried out, who died, how many zombies woke."""

    def __init__(self, plan: Plan, cast: Cast, clients: Clients) -> None:
        self.hit: Counter[Kind] = Counter()
        self.victims: Counter[str] = Counter()
        self.deaths: list[Death] = []
        self.zombies = 0
        self.calm_at = 0.0
        self._plan = plan
        self._cast = cast
        self._clients = clients

    async def blow(self) -> None:
        """Fire the faults; return when everybody is up again. Those that the load's end left out aren't hit."""
        async with asyncio.TaskGroup() as aftermath:
            for fault in self._plan.faults:
                if not await self._reached(self._clients.accepted, fault.at):
                    break
                aftermath.create_task(await self._fired(fault))
                self.hit[fault.kind] += 1
        self.calm_at = time.time()

    async def _fired(self, fault: Fault) -> Coroutine[None, None, None]:
        """Do it, and return what is to be done after it."""
        if fault.kind is Kind.RESTART_DATABASE:
            await self._cast.stop_database()
            return self._database_comes_back()
        victim = await self._cast.first_up(fault.victims)
        pid, at = victim.pid, time.time()
        if fault.kind is Kind.KILL:
            victim.kill()
            following = self._begins_anew(victim, pid, at)
        else:
            victim.stop()
            following = self._wakes(victim, pid, at)
        self.victims[f"{fault.kind} {'replica' if self._is_replica(victim) else 'service'}"] += 1
        return following

    async def _database_comes_back(self) -> None:
        await self._reached(self._clients.asked, self._clients.asked.value + STANDS_STILL_FOR)
        await self._cast.start_database()

    async def _begins_anew(self, victim: Member, pid: int, at: float) -> None:
        if self._is_replica(victim):
            await asyncio.gather(self._mourned(pid, at), victim.start())
        else:
            await victim.start()

    async def _wakes(self, victim: Member, pid: int, at: float) -> None:
        """A replica wakes when others have all that was its own; a service when its callers have lost patience."""
        if self._is_replica(victim):
            while not await self._mourned(pid, at) and not self._clients.finished.is_set():
                victim.wake()  # it had nothing in hand, and would be no zombie: a little later
                await asyncio.sleep(LATER_SECONDS)
                victim.stop()
                at = time.time()
            await self._cast.given_up(pid)
            self.zombies += 1
        else:
            await self._reached(self._clients.asked, self._clients.asked.value + STANDS_STILL_FOR)
        victim.wake()

    async def _mourned(self, pid: int, at: float) -> bool:
        """Note what a replica left behind, and return whether that is anything."""
        owned = await self._cast.owned_by(pid)
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

    def _is_replica(self, member: Member) -> bool:
        return member in self._cast.replicas
