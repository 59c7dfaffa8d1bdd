"""The same world with its log on a real database, in the time of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import update

from app.saga.ports.clock import SystemClock
from app.saga.ports.log import SagaLog
from app.storage import open_storage
from app.storage.engine.database import Database
from app.storage.engine.tables import replica as replicas
from tests.crash.boundary import Stop
from tests.crash.judge import judged, stranded
from tests.crash.loop import in_real_time
from tests.crash.plan_run import PlanRun
from tests.crash.replica import Replica
from tests.crash.scenarios import Scenario
from tests.crash.world import Stranded, World

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class SqlWorld(World):
    """A world with its log on SQLite or PostgreSQL: each process opens it anew, and a dead one's lease is ended."""

    back_after = 0.0
    again_after = 0.02

    def __init__(self, scenario: Scenario, url: str, name: str) -> None:
        self._url = url
        super().__init__(scenario, SystemClock(), self._open, name)

    async def after_death(self, replica: Replica) -> None:
        engine = Database(self._url).migration_engine()
        try:
            async with engine.begin() as connection:
                await connection.execute(
                    update(replicas)
                    .where(replicas.c.id.in_(replica.owners))
                    .values(lease_expires_at=LONG_AGO)
                )
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[SagaLog]:
        async with open_storage(self._url, pool_size=2) as storage:
            yield storage.log


def run_plan_on(url: str, scenario: Scenario, *stops: Stop) -> PlanRun:
    """Run on a real database with these stops, one for each process."""
    how = ", then ".join(map(str, stops)) or "undisturbed"
    name = f"{scenario}, {how}, on {url.partition(':')[0]}"
    world = SqlWorld(scenario, url, name)

    async def run() -> PlanRun:
        try:
            verdict = judged(name, scenario, await world.run(*stops), undisturbed=not stops)
        except Stranded as problem:
            verdict = stranded(name, str(problem))
        return PlanRun(verdict=verdict, passed=[one.gate.passed for one in world.replicas])

    return in_real_time(run())
