"""The processes and the database of a chaos run, and which process owns which sagas by the database."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.storage.engine.database import Database
from app.storage.engine.tables import replica, saga
from app.storage.sagas.saga_rows import UNFINISHED
from tests.chaos.database.crashing_postgres import CrashingPostgres
from tests.chaos.storm.plan import Plan
from tests.chaos.storm.processes import ServerProcess, a_port, replica_process, service_process
from tests.processes import SERVICES

POLL_SECONDS = 0.2
LATE_SECONDS = 1.2
"""Later than a step's time-out, so that a late effect meets the next attempt, or the compensation."""

REPLICA_ENV = {
    "CHECKOUT_RECOVERY_POLL_SECONDS": str(POLL_SECONDS),
    "CHECKOUT_RETRY_BASE_SECONDS": "0.05",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.5",
    # A minute of retries: with 20, a service that a busy machine restarts too slowly would rightly park sagas.
    "CHECKOUT_COMPENSATION_MAX_ATTEMPTS": "200",
    "CHECKOUT_STEP_TIMEOUT_SECONDS": "1",
    "CHECKOUT_STORAGE_TIMEOUT_SECONDS": "2",
    "CHECKOUT_WAIT_SECONDS": "4",
    "CHECKOUT_LOG_LEVEL": "warning",
    "SANDBOX_REMOTE": "true",
}
SERVICE_ENV = {
    "SANDBOX_FAILURE_RATE": "0.2",
    "SANDBOX_LATENCY_SECONDS": "0.05",
    "SANDBOX_LATE_SECONDS": str(LATE_SECONDS),
    "SANDBOX_HANG_SECONDS": "2",
}
LOOK_AGAIN_SECONDS = 0.05


class Cluster:
    """Three services and some replicas on one database. Without `postgres` nobody may stop that.

    `available` notes from when to when there was a replica and a database to take sagas over.
    """

    def __init__(
        self, plan: Plan, *, url: str, directory: Path, replicas: int, postgres: CrashingPostgres | None
    ) -> None:
        ports = random.Random()
        self.services = [
            service_process(name, SERVICE_ENV, directory, a_port(ports), plan.seed * 10 + number)
            for number, name in enumerate(SERVICES)
        ]
        env = {f"{one.name.upper()}_URL": one.url for one in self.services}
        env |= {"DATABASE_URL": url, "CHECKOUT_LEASE_SECONDS": str(plan.lease_seconds), **REPLICA_ENV}
        self.replicas = [
            replica_process(f"replica-{number}", env, directory, a_port(ports), self._note_availability)
            for number in range(replicas)
        ]
        self.available: list[tuple[float, bool]] = []
        self._processes = {one.name: one for one in (*self.services, *self.replicas)}
        self._postgres = postgres
        self._database_up = True
        self._database = Database(url)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have all of them run, and none afterwards."""
        self._looking = self._database.engine(pool_size=2)
        try:
            await asyncio.gather(*(process.start() for process in self._processes.values()))
            yield
        finally:
            for process in self._processes.values():
                process.close()
            await self._looking.dispose()

    async def first_up(self, names: Sequence[str]) -> ServerProcess:
        """Return the first of these that is up, once one is."""
        while True:
            for name in names:
                if self._processes[name].up:
                    return self._processes[name]
            await asyncio.sleep(LOOK_AGAIN_SECONDS)  # a process's start can only be asked about

    async def stop_database(self) -> None:
        """Stop it as a power cut would."""
        assert self._postgres is not None
        self._database_up = False
        self._note_availability()
        await asyncio.to_thread(self._postgres.stop)

    async def start_database(self) -> None:
        """Start it on the same data."""
        assert self._postgres is not None
        await asyncio.to_thread(self._postgres.start)
        self._database_up = True
        self._note_availability()

    async def owned_by(self, pid: int) -> frozenset[str]:
        """Return the unfinished sagas that a process owns, as soon as the database can be asked."""
        mine = select(saga.c.id).where(saga.c.owner.like(f"%:{pid}:%"), saga.c.status.in_(UNFINISHED))
        while True:
            with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
                async with self._looking.connect() as connection:
                    return frozenset((await connection.execute(mine)).scalars())
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def taken_over(self, pid: int) -> None:
        """Return once that process's lease has lapsed and its sagas are another's: then it is a zombie."""
        mine = select(func.max(replica.c.lease_expires_at)).where(replica.c.id.like(f"%:{pid}:%"))
        while True:
            with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
                async with self._looking.connect() as connection:
                    until = (await connection.execute(mine)).scalar_one()
                if (until is None or until < datetime.now(UTC)) and not await self.owned_by(pid):
                    return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def logs(self) -> str:
        """Return what the replicas have logged."""
        return "".join(one.log.read_text(errors="replace") for one in self.replicas)

    def starts(self) -> Mapping[str, int]:
        """Return how often each process was started."""
        return {name: process.starts for name, process in self._processes.items()}

    def _note_availability(self) -> None:
        available = self._database_up and any(one.up for one in self.replicas)
        self.available.append((time.time(), available))
