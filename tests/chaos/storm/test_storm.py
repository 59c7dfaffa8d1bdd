"""A small storm in every run of the tests; `make chaos` is the large one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from app.storage.schema.migrations import upgrade
from tests.chaos.database.crashing_postgres import a_crashing_postgres
from tests.chaos.storm.clients import Clients
from tests.chaos.storm.cluster import Cluster
from tests.chaos.storm.fault_injector import FaultInjector
from tests.chaos.storm.figures import Figures
from tests.chaos.storm.plan import Kind, Plan, a_plan
from tests.chaos.storm.run import StormResult, storm
from tests.processes import SERVICES

LEASE_SECONDS = 1.5
PATIENCE = 10.0
"""Both limits of time are tenfold here: a machine that is busy with other tests is no violation."""


def _judge(after: StormResult, directory: Path) -> None:
    figures = Figures(after, patience=PATIENCE)
    violations = list(figures.violations())
    if violations:
        figures.write(directory / "evidence.json")
    assert [str(violation) for violation in violations] == []
    assert figures.void() == [], "the run proves nothing"


async def test_two_replicas_on_postgresql_lose_and_double_nothing_in_a_storm(tmp_path: Path) -> None:
    """Processes killed and frozen, a zombie, the database stopped in mid-load: every invariant holds."""
    plan = a_plan(
        1,
        orders=150,
        clients=30,
        lease_seconds=LEASE_SECONDS,
        kills=3,
        stops=1,
        restarts=1,
        replicas=("replica-0", "replica-1"),
        services=SERVICES,
    )
    with a_crashing_postgres() as postgres:
        await asyncio.to_thread(upgrade, postgres.url)
        _judge(
            await storm(plan, url=postgres.url, directory=tmp_path, replicas=2, postgres=postgres), tmp_path
        )


async def test_one_process_on_sqlite_loses_and_doubles_nothing_when_it_is_killed(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Killed three times in mid-load and restarted on the same file: every invariant holds."""
    plan = a_plan(
        1,
        orders=100,
        clients=25,
        lease_seconds=LEASE_SECONDS,
        kills=3,
        stops=0,
        restarts=0,
        replicas=("replica-0",),
        services=(),
    )
    _judge(await storm(plan, url=sqlite_url, directory=tmp_path, replicas=1), tmp_path)


def _of_a_run_that_never_was(plan: Plan, directory: Path) -> StormResult:
    cluster = Cluster(plan, url="sqlite:///nowhere.db", directory=directory, replicas=1, postgres=None)
    clients = Clients(cluster.replicas, seed=plan.seed, give_up_seconds=1)
    return StormResult(
        plan=plan,
        injector=FaultInjector(plan, cluster, clients),
        clients=clients,
        sagas={},
        rested=True,
        records=[],
        standing=[],
        available=[],
        logs="",
        seconds=0,
        load_seconds=0,
    )


def test_a_run_that_missed_its_faults_is_void(tmp_path: Path) -> None:
    """It says what it has not seen, rather than pass."""
    plan = a_plan(1, orders=10, clients=1, kills=2, stops=1, restarts=0, replicas=("replica-0",), services=())
    figures = Figures(_of_a_run_that_never_was(plan, tmp_path))
    assert figures.void() == [
        "0 of 2 planned: kill",
        "0 of 1 planned: stop",
        "nothing was taken over",
        "no outcome was unknown",
        "nothing was compensated",
        "nothing was completed",
        "no effect was late",
        "fewer than one call in eight went wrong",
        "no zombie woke",
    ]


def test_what_is_lost_or_doubled_is_told(tmp_path: Path) -> None:
    """A saga that was acknowledged and is gone, and a charge that nobody's completed saga accounts for."""
    plan = a_plan(1, orders=10, clients=1, kills=1, stops=0, restarts=0, replicas=("replica-0",), services=())
    after = _of_a_run_that_never_was(plan, tmp_path)
    after.clients.saga_of["key-1"] = "gone"
    charge = {"service": "payment", "reference": "nobody's", "effect": {"EUR": 100}}
    figures = Figures(replace(after, standing=[charge]))
    assert (figures.lost, figures.doubled) == (["gone"], ["nobody's at payment"])
    assert {"nothing is lost", "nothing is doubled"} <= {one.invariant for one in figures.violations()}


def test_a_seed_gives_the_same_plan_and_the_first_of_each_kind_hits_a_replica() -> None:
    """Each fault has its own event, within the load."""

    def planned(seed: int) -> Plan:
        return a_plan(
            seed,
            orders=150,
            clients=1,
            kills=3,
            stops=2,
            restarts=1,
            replicas=("replica-0",),
            services=SERVICES,
        )

    plan = planned(7)
    assert plan == planned(7) != planned(8)
    events = [fault.at for fault in plan.faults]
    assert events == sorted(set(events))
    assert 0 < events[0] < events[-1] < plan.orders
    for kind in (Kind.KILL, Kind.STOP):
        first = next(fault for fault in plan.faults if fault.kind is kind)
        assert first.victims[0] == "replica-0"
