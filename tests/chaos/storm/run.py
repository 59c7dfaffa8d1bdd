"""A storm: clients order while processes die and freeze; then every saga must end, and everything is read and judged.

load, a fault at every n-th accepted order ─▶ every process is up again ─▶ every saga has ended
─▶ nothing is late any more ─▶ every saga as every replica shows it, and the services' books
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.chaos.database.crashing_postgres import CrashingPostgres
from tests.chaos.storm.clients import Clients
from tests.chaos.storm.cluster import LATE_SECONDS, Cluster
from tests.chaos.storm.fault_injector import FaultInjector
from tests.chaos.storm.orders import orders
from tests.chaos.storm.plan import Plan
from tests.proof.evidence import Evidence, lines_of, standing_of

GIVE_UP_SECONDS = 120.0
AT_ONCE = 16
QUIET_SECONDS = LATE_SECONDS + 1.0
"""After so long without a call nothing is late any more."""

JsonObject = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class StormResult:
    """What a storm left behind.

    `sagas` has all there are, each as every replica shows it (None: not at all); `rested` says that all
    of them ended within the time allowed.
    """

    plan: Plan
    injector: FaultInjector
    clients: Clients
    sagas: Mapping[str, Sequence[JsonObject | None]]
    rested: bool
    records: Sequence[JsonObject]
    standing: Sequence[JsonObject]
    available: Sequence[tuple[float, bool]]
    logs: str
    seconds: float
    load_seconds: float

    def evidence(self) -> Evidence:
        """Return what the checker of invariants judges."""
        lapses = sum(map(self.logs.count, ("lease_lost", "saga_ownership_lost", "saga_fenced")))
        return Evidence(
            answers=self.clients.answers,
            lines=lines_of(self.records),
            standing=standing_of(self.standing),
            deaths=len(self.injector.deaths) + lapses,
            settled=self.rested,
        )


async def storm(
    plan: Plan, *, url: str, directory: Path, replicas: int, postgres: CrashingPostgres | None = None
) -> StormResult:
    """Carry a plan out on real processes over the migrated database at `url`; logs and books go to `directory`."""
    began = time.monotonic()
    cluster = Cluster(plan, url=url, directory=directory, replicas=replicas, postgres=postgres)
    clients = Clients(cluster.replicas, seed=plan.seed, give_up_seconds=GIVE_UP_SECONDS)
    injector = FaultInjector(plan, cluster, clients)
    async with cluster.running(), clients.connected():
        load_began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(injector.inject())
            tasks.create_task(clients.place_all(orders(plan.seed, plan.orders), clients=plan.clients))
        load_seconds = time.monotonic() - load_began
        rested = await clients.all_rest(seconds=GIVE_UP_SECONDS)
        records = await _landed(cluster)
        return StormResult(
            plan=plan,
            injector=injector,
            clients=clients,
            sagas=await _shown(clients, len(cluster.replicas)),
            rested=rested,
            records=records,
            standing=await _asked_of_services(cluster, "/standing"),
            available=cluster.available,
            logs=cluster.logs(),
            seconds=time.monotonic() - began,
            load_seconds=load_seconds,
        )


async def _shown(clients: Clients, replicas: int) -> dict[str, list[JsonObject | None]]:
    """Return every saga that was acknowledged or is listed, as each replica shows it."""
    ids = list(dict.fromkeys([*clients.saga_of.values(), *await clients.listed()]))
    shown: dict[str, list[JsonObject | None]] = {}

    async def look(saga_id: str) -> None:
        shown[saga_id] = [await clients.found(saga_id, number) for number in range(replicas)]

    await _few_at_once(look, ids)
    return shown


async def _landed(cluster: Cluster) -> list[JsonObject]:
    """Return the services' records, once no request is late any more."""
    while True:
        records = await _asked_of_services(cluster, "/records")
        quiet = (time.monotonic_ns() - max(record["at"] for record in records)) / 1e9
        if quiet > QUIET_SECONDS:
            return records
        await asyncio.sleep(QUIET_SECONDS - quiet + 0.1)  # what is late in another process can't be seen


async def _asked_of_services(cluster: Cluster, path: str) -> list[JsonObject]:
    rows: list[JsonObject] = []
    async with httpx.AsyncClient(timeout=60.0, trust_env=False, verify=False) as client:
        for service in cluster.services:
            rows += (await client.get(service.url + path)).raise_for_status().json()
    return rows


async def _few_at_once(work: Callable[[str], Awaitable[None]], ids: Iterable[str]) -> None:
    waiting = iter(ids)

    async def worker() -> None:
        for saga_id in waiting:
            await work(saga_id)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
