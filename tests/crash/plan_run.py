"""Runs one plan of crashes: one process after the other, or two owners at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from app.saga.model.errors import SagaError
from app.saga.ports.memory_log import MemoryLog
from tests.crash.boundary import Mode, Stop
from tests.crash.judge import Verdict, judged, stranded
from tests.crash.loop import WorldClock, in_virtual_time
from tests.crash.replica import LEASE_SECONDS, Replica
from tests.crash.scenarios import Scenario
from tests.crash.world import Stranded, VirtualWorld
from tests.proof.evidence import LedgerLine, LedgerStanding

MakeLog = Callable[[WorldClock], MemoryLog]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRun:
    """What a run came to: its verdict, and the boundaries that each of its processes came to."""

    verdict: Verdict
    passed: list[list[str]]


def run_plan(scenario: Scenario, *stops: Stop, make_log: MakeLog = MemoryLog) -> PlanRun:
    """Run with these stops, one for each process; the process after the last one goes undisturbed."""
    name = f"{scenario}, " + (", then ".join(map(str, stops)) or "undisturbed")

    async def run(world: VirtualWorld) -> Verdict:
        return judged(name, scenario, await world.run(*stops), undisturbed=not stops)

    return _run(scenario, name, run, make_log)


def two_owners(
    scenario: Scenario, stop: Stop, heir_stop: Stop | None = None, *, make_log: MakeLog = MemoryLog
) -> PlanRun:
    """Stop A till B, who takes over, has finished or come to its own stop; then wake A, who may change nothing.

    At its own stop B stands still while A is awake, for less than its lease, and then goes on.
    """
    name = f"{scenario}, A wakes from {stop}" + (f" while B stands at {heir_stop}" if heir_stop else "")

    async def run(world: VirtualWorld) -> Verdict:
        try:
            return await _awoken(name, world, stop, heir_stop)
        finally:
            await world.close()

    return _run(scenario, name, run, make_log)


def _run(
    scenario: Scenario,
    name: str,
    run: Callable[[VirtualWorld], Coroutine[Any, Any, Verdict]],
    make_log: MakeLog,
) -> PlanRun:
    worlds: list[VirtualWorld] = []

    async def judged_run(clock: WorldClock) -> Verdict:
        worlds.append(VirtualWorld(scenario, clock, make_log(clock)))
        try:
            return await run(worlds[0])
        except Stranded as problem:
            return stranded(name, str(problem))

    verdict = in_virtual_time(judged_run)
    return PlanRun(verdict=verdict, passed=[replica.gate.passed for replica in worlds[0].replicas])


async def _awoken(name: str, world: VirtualWorld, stop: Stop, heir_stop: Stop | None) -> Verdict:
    zombie = world.open(stop)
    its_client = asyncio.create_task(world.serve(zombie))
    if not await _stands(world, zombie, its_client):
        raise AssertionError(f"It never came to {stop}.")
    heir = world.open(heir_stop)
    heirs_client = asyncio.create_task(world.serve(heir))
    midway = await _stands(world, heir, heirs_client)
    before = await _seen(world)
    zombie.process.wake()
    await asyncio.sleep(1.0 if midway else 3 * LEASE_SECONDS)
    after = await _seen(world)
    if midway:
        heir.process.wake()
        await heirs_client
        changed = _moved(before, after, heir)
    else:
        heirs_client.result()
        changed = _changed(before, after, zombie, stop)
    try:
        await its_client
    except (Stranded, SagaError) as problem:
        changed.append(f"what the zombie left can't be read: {problem}")
    await world.sandbox.settled()
    verdict = judged(name, world.scenario, await world.evidence())
    return replace(verdict, wrong=(*changed, *verdict.wrong))


async def _stands(world: VirtualWorld, replica: Replica, client: asyncio.Task[Any]) -> bool:
    """Return True once the process has come to its stop, False once its client is through."""
    stopped = asyncio.create_task(replica.process.stopped.wait())
    await asyncio.wait({client, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    world.stops += not client.done()
    return not client.done()


@dataclass(frozen=True, slots=True)
class _Saga:
    """A saga's row with its log."""

    owner: str | None
    rest: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that a zombie must leave as it is."""

    sagas: dict[str, _Saga]
    states: list[LedgerStanding]
    lines: list[LedgerLine]


async def _seen(world: VirtualWorld) -> _Seen:
    sagas = {
        saga_id: _Saga(row.owner, (row.status, row.epoch, row.next_action_at, tuple(row.events)))
        for saga_id, row in world.log._rows.items()
    }
    return _Seen(sagas, await world.states(), list((await world.evidence()).lines))


def _moved(before: _Seen, after: _Seen, heir: Replica) -> list[str]:
    """Return what a zombie did to the sagas of its heir, who stood still meanwhile."""
    heirs = {saga_id: saga for saga_id, saga in before.sagas.items() if saga.owner in heir.owners}
    now = {saga_id: after.sagas.get(saga_id) for saga_id in heirs}
    return [] if now == heirs else ["the zombie changed the log"]


def _changed(before: _Seen, after: _Seen, zombie: Replica, stop: Stop) -> list[str]:
    """Return what a zombie changed; the one request that it had in hand may arrive, and comes to nothing."""
    wrong = []
    if after.sagas != before.sagas:
        wrong.append("the zombie changed the log")
    if after.states != before.states:
        wrong.append("the zombie changed what stands")
    added = after.lines[len(before.lines) :]
    port, _, _ = (zombie.gate.stopped_at or "").partition(".")
    in_hand = [] if port in {"log", "clock"} or stop.mode is Mode.AFTER else [port]
    if [line.service for line in added if line.phase == "arrived"] != in_hand:
        wrong.append(f"the zombie sent {added}")
    if any(line.phase == "applied" for line in added):
        wrong.append("what the zombie sent had an effect")
    return wrong
