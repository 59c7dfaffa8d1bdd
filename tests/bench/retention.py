"""What retention costs the live load: checkouts a second on PostgreSQL, without it and while it works.

`python -m tests.bench.retention`. As in the service, both are in one process and on one database, with
fsync on. The old sagas are copies of one with a whole order; the sides run in turn, and medians are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg
from rich.console import Console
from rich.table import Table
from uuid_utils import uuid7

from app.checkout.redaction import CHECKOUT_REDACTION
from app.operations.retention import Retention
from app.saga import Definitions, NewSaga, SagaDefinition, SagaOrchestrator, SagaStatus
from app.saga.background.tasks import end_tasks
from app.saga.engine.runner import SagaRunner
from app.saga.ports.clock import SystemClock
from app.storage import Storage, open_storage
from app.storage.retention.retention import SqlRetention
from app.storage.schema.migrations import upgrade
from tests.bench.sides.saga import Nothing
from tests.postgres import Databases, a_server
from tests.processes import an_order

BATCH = 200
ROUNDS = 3
DAY = timedelta(days=1)

COPY = """
WITH old AS (
    INSERT INTO saga SELECT (new).* FROM (
        SELECT jsonb_populate_record(saga, jsonb_build_object(
            'id', overlay(gen_random_uuid()::text placing '01700000-0000-7000' from 1 for 18),
            'order_id', gen_random_uuid(), 'idempotency_key', NULL, 'finished_at', '2022-09-01T00:00:00Z')) AS new
        FROM saga, generate_series(1, $2) WHERE id = $1::uuid
    ) AS copied RETURNING id
)
INSERT INTO saga_log SELECT (jsonb_populate_record(saga_log, jsonb_build_object('saga_id', old.id))).*
FROM saga_log, old WHERE saga_id = $1::uuid
"""
"""Copies one saga into 2022, where its id says that it began."""


@dataclass
class Side:
    """What is measured, and what came out."""

    name: str
    retention: Callable[[Storage], Retention] | None
    rates: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)


class Shop:
    """A process that checks out all the time."""

    def __init__(self, storage: Storage) -> None:
        definition = (
            SagaDefinition("checkout")
            .do(Nothing("payment"))
            .do(Nothing("inventory"))
            .pivot(Nothing("shipping"))
        )
        clock = SystemClock()
        orchestrator = SagaOrchestrator(definition, storage.log, clock=clock)
        self._runner = SagaRunner(Definitions([definition]), storage.log, orchestrator, clock=clock)

    async def check_out(self) -> str:
        """Run one checkout to its end, and return its id."""
        saga_id = str(uuid7())
        order = {**an_order(saga_id), "amount": 3998, "metadata": {}}
        new = NewSaga(
            id=saga_id,
            definition="checkout",
            version=1,
            input=order,
            order_id=saga_id,
            customer_id="cus-7",
            idempotency_key=saga_id,
        )
        running = self._runner.launch(new)
        await running.done
        assert running.instance.state.status is SagaStatus.COMPLETED
        return saga_id


def a_retention(*, sagas: bool = False, pause: float = 1.0) -> Callable[[Storage], Retention]:
    """Return how to make what works beside the checkouts."""
    return lambda storage: Retention(
        SqlRetention(storage.log, CHECKOUT_REDACTION),
        clock=SystemClock(),
        keep_data=90 * DAY,
        keep_sagas=400 * DAY if sagas else None,
        batch=BATCH,
        pause_seconds=pause,
    )


async def measure(url: str, side: Side, *, clients: int, seconds: float, old: int) -> None:
    """Fill the past, then check out for so long while the side's retention works on it."""
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(url))
        shop = Shop(storage)
        await _fill(url, await shop.check_out(), old)
        left, took, tasks = [0], list[float](), list[asyncio.Task[object]]()
        if side.retention is not None:
            retention = side.retention(storage)
            retention.on_redacted = retention.on_deleted = left.append
            work = retention._delete if retention._keep_sagas else retention._redact
            tasks.append(asyncio.create_task(work()))
        begin = time.perf_counter()

        async def client() -> None:
            while (began := time.perf_counter()) < begin + seconds:
                await shop.check_out()
                took.append((time.perf_counter() - began) * 1000)

        await asyncio.gather(*(client() for _ in range(clients)))
        lasted = time.perf_counter() - begin
        await end_tasks(tasks)
        side.rates.append(len(took) / lasted)
        side.medians.append(statistics.median(took))
        side.slowest.append(statistics.quantiles(took, n=100)[-1])
        side.left.append(sum(left) / lasted)


async def _fill(url: str, source: str, old: int) -> None:
    """Have `old` old sagas, none of them redacted."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "DELETE FROM saga_log WHERE saga_id < '01800000-0000-0000-0000-000000000000'"
        )
        await connection.execute("DELETE FROM saga WHERE id < '01800000-0000-0000-0000-000000000000'")
        await connection.execute("UPDATE retention SET position = '00000000-0000-0000-0000-000000000000'")
        await connection.execute(COPY, source, old)
        await connection.execute("VACUUM ANALYZE saga, saga_log")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.retention", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--old", type=int, default=20_000, help="old sagas in the database")
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    sides = [
        Side("no retention", None),
        Side("redacting", a_retention()),
        Side("deleting", a_retention(sagas=True)),
        Side("redacting without a pause", a_retention(pause=0.0)),
    ]
    console = Console()
    with a_server() as server, console.status("measuring"):
        url = Databases(server=server).create("bench", template=None)
        upgrade(url)
        for _ in range(ROUNDS):
            for side in sides:
                asyncio.run(measure(url, side, clients=given.clients, seconds=given.seconds, old=given.old))
    table = Table("side", "checkouts/s", "spread", "p50 ms", "p99 ms", "old sagas/s")
    for side in sides:
        table.add_row(
            side.name,
            f"{statistics.median(side.rates):.0f}",
            f"{min(side.rates):.0f}–{max(side.rates):.0f}",
            f"{statistics.median(side.medians):.1f}",
            f"{statistics.median(side.slowest):.1f}",
            f"{statistics.median(side.left):.0f}",
        )
    console.print(table)
    console.print(
        f"{given.old:,} old sagas, {given.clients} clients, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, fsync on; median of {ROUNDS} rounds"
    )


if __name__ == "__main__":
    main()
