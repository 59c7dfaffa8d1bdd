"""One run: from a seed, or a plan of its own, to what it leaves behind and what was wrong with it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from app.saga.model.status import INACTIVE
from tests.proof.evidence import Evidence, Violation
from tests.proof.invariants import check
from tests.simulation.clients import visit
from tests.simulation.ingress import Ingress
from tests.simulation.loop import Deadlock, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.plan import Fault, Plan, a_plan
from tests.simulation.replica import LEASE_SECONDS, Replica
from tests.simulation.rng import rng_for
from tests.simulation.scenario import Scenario, a_scenario
from tests.simulation.world import World

CHAOS_SECONDS = 20.0
"""How long faults may strike."""
REST_SECONDS = 30.0
"""Within which every saga rests once the last fault has cleared."""
BOOT_SECONDS = 5.0
"""Within which every replica is up once nothing is in its way."""
TAKEOVER_SECONDS = 2 * LEASE_SECONDS
GLANCE_SECONDS = 0.25
SETTLE_SECONDS = 2.0
"""Within which every journal has seen that the database is back, and written what waited for it."""
LONG_SECONDS = 60.0
"""What is further off than this isn't glanced at until then."""
LAST_PATIENCE = 10.0


@dataclass(kw_only=True)
class Result:
    """What came of a run."""

    seed: int
    plan: Plan
    hash: str
    violations: list[Violation]
    evidence: Evidence
    trace: list[str]
    fired: list[Fault]
    sagas: int
    counts: Counter[str] = field(default_factory=Counter)


def run(seed: int, plan: Plan | None = None) -> Result:
    """Run a seed, with its own plan of faults or with another."""
    scenario = a_scenario(rng_for(seed, "scenario"))
    if plan is None:
        plan = a_plan(rng_for(seed, "plan"), replicas=scenario.replicas, night=scenario.night)
    with _silent():
        loop = VirtualLoop()
        one = _Run(World(loop, rng_for(seed, "world"), plan), scenario)
        try:
            loop.run(one.play())
        except Deadlock:
            one.wrong("deadlock", "the run", "Everybody waits, and nothing will happen any more.")
        for broken in loop.broken:
            one.wrong("nothing_breaks_down", "the run", broken)
        return one.result(seed, plan)


class _Run:
    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._scenario = scenario
        self._violations: list[Violation] = []
        self._taken = 0
        self._settled = True
        self.network = Network(world)
        ids = count(1)
        self._replicas = [
            Replica(world, self.network, number, skew, ids, scenario.deadline)
            for number, skew in enumerate(scenario.skews)
        ]
        world.machines = self._replicas
        self._ingress = Ingress(world, self._replicas)

    def wrong(self, invariant: str, about: str, seen: str) -> None:
        """Note a violation."""
        self._violations.append(Violation(invariant, about, seen))

    async def play(self) -> None:
        """Let the clients come and the faults strike; then calm down, and look whether all comes to rest."""
        world = self._world
        for replica in self._replicas:
            replica.boot()
        await asyncio.sleep(0.05)
        visits = [
            asyncio.create_task(visit(self._ingress, way, self._scenario.replicas))
            for way in self._scenario.visits
        ]
        while world.loop.elapsed < CHAOS_SECONDS and not all(one.done() for one in visits):
            await asyncio.sleep(GLANCE_SECONDS)
            self._watch_takeovers()
        world.faults.over = True
        await asyncio.wait(visits)
        await self._undisturbed()
        for replica in self._replicas:
            if not replica.serving:
                self.wrong("serves_again", replica.name, "Still down though nothing is in its way.")
        await asyncio.sleep(SETTLE_SECONDS)
        if (
            world.disturbed_until > world.loop.elapsed
        ):  # a fault that had struck by then came to bear only now
            await self._undisturbed()
            await asyncio.sleep(SETTLE_SECONDS)
        world.note("world", "calm", "", "")
        await self._rest()
        await self._ask_again()
        await self._rest()
        await asyncio.sleep(GLANCE_SECONDS)  # whoever made the last commit has heard of it by then
        await self._last_look()
        for fault in self._ingress.faults:
            self.wrong("no_fault", "the API", fault)
        for replica in self._replicas:
            if replica.process is not None:
                world.loop.kill(replica.process)
        await self.network.land()

    async def _undisturbed(self) -> None:
        """Return once all that went wrong is over and every replica is ready, or should be."""
        world, begun = self._world, self._world.loop.elapsed
        while world.loop.elapsed < max(begun, world.disturbed_until) + BOOT_SECONDS:
            left = world.disturbed_until - world.loop.elapsed
            if left <= 0 and all(replica.serving for replica in self._replicas):
                return
            await asyncio.sleep(max(GLANCE_SECONDS, left - LONG_SECONDS))
            self._watch_takeovers()

    async def _rest(self) -> None:
        """Return once every saga rests; each must within its time from now, as nothing goes wrong any more."""
        world, calm = self._world, self._world.loop.elapsed
        watched = False
        while unfinished := [row for row in world.database.rows.values() if row.status not in INACTIVE]:
            passed = world.loop.elapsed - calm
            if passed > TAKEOVER_SECONDS and not watched:
                watched = True
                living = {replica.lease.owner for replica in self._replicas if replica.lease is not None}
                for row in unfinished:
                    due = row.next_action_at is not None and row.next_action_at <= world.now()
                    if row.owner not in living and due:
                        self.wrong("taken_over_in_time", row.saga.id, f"Still nobody's: {row.owner}.")
            if passed > REST_SECONDS:
                self._settled = False
                for row in unfinished:
                    self.wrong("finished_in_time", row.saga.id, f"Still {row.status} of {row.owner}.")
                return
            await asyncio.sleep(GLANCE_SECONDS)
            self._watch_takeovers()

    async def _ask_again(self) -> None:
        """Repeat every request that has a key and was answered, at some replica."""
        repeated: dict[str, None] = {}
        for number, way in enumerate(self._scenario.visits):
            if way.key is not None and way.key not in repeated and self._was_answered(way.key):
                repeated[way.key] = None
                await self._ingress.post(
                    number % self._scenario.replicas, way.order, key=way.key, patience=LAST_PATIENCE
                )

    async def _last_look(self) -> None:
        """Read every saga, each at some replica."""
        for number, saga_id in enumerate(sorted(self._world.database.rows)):
            at = number % self._scenario.replicas
            answer = await self._ingress.get(at, saga_id, patience=LAST_PATIENCE)
            if answer is None or answer.status != 200:
                self.wrong("readable", saga_id, f"At rest, but replica {at} answered {answer}.")

    def _was_answered(self, key: str) -> bool:
        return any(answer.idempotency_key == key for answer in self._ingress.answers)

    def _watch_takeovers(self) -> None:
        """Hold each takeover to its time: two leases from the death, or from when the last trouble was over."""
        world = self._world
        for saga_id, owner in world.database.takeovers[self._taken :]:
            self._taken += 1
            gone = world.gone.get(owner)
            if gone is None:
                continue  # frozen, or a saga that was given up
            late = world.loop.elapsed - max(gone, world.disturbed_until)
            if late > TAKEOVER_SECONDS + GLANCE_SECONDS:
                self.wrong("taken_over_in_time", saga_id, f"{late:.1f} s after {owner} was gone.")

    def result(self, seed: int, plan: Plan) -> Result:
        """Have the run judged."""
        world = self._world
        evidence = Evidence(
            answers=self._ingress.answers,
            lines=self.network.books.lines(),
            standing=self.network.books.states(),
            deaths=world.deaths,
            settled=self._settled,
        )
        counts = world.counts
        counts["takeovers"] = len(world.database.takeovers)
        return Result(
            seed=seed,
            plan=plan,
            hash=world.trace.hash,
            violations=[*self._violations, *check(evidence)],
            evidence=evidence,
            trace=world.trace.lines,
            fired=world.faults.fired,
            sagas=len(world.database.rows),
            counts=counts,
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the product's warnings to itself: they are expected, by the thousand."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
