"""A small storm in every run of the tests; `make chaos` is the large one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.storage.migrations import upgrade
from tests.chaos.database import a_crashing_postgres
from tests.chaos.figures import Figures
from tests.chaos.plan import a_plan
from tests.chaos.storm import Aftermath, storm
from tests.processes import SERVICES

LEASE_SECONDS = 1.5
PATIENCE = 10.0
"""Both limits of time are tenfold here: a machine that is busy with other tests is no violation."""


def _judge(after: Aftermath) -> None:
    figures = Figures(after, patience=PATIENCE)
    assert [str(violation) for violation in figures.violations()] == []
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
        _judge(await storm(plan, url=postgres.url, directory=tmp_path, replicas=2, postgres=postgres))


async def test_one_process_on_sqlite_loses_and_doubles_nothing_when_it_is_killed(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Killed three times in mid-load and begun anew on the same file: every invariant holds."""
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
    _judge(await storm(plan, url=sqlite_url, directory=tmp_path, replicas=1))
