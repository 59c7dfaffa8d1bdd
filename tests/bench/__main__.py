"""Checkouts per second of the saga core and its log, beside the floor: a raw driver doing the same commits.

Three steps that do nothing, in process, so that what is measured is the saga and its durability. The
sides run in turn, three rounds in one go; medians with their spread are printed as a table.
The peers, the services over HTTP and growth come with the issue on speed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table
from uuid_utils import uuid7

from app.saga import Definitions, NewSaga, SagaDefinition, SagaOrchestrator, SagaStatus
from app.saga.clock import SystemClock
from app.saga.runner import SagaRunner
from app.saga.step import Context
from app.storage import open_storage
from app.storage.migrations import upgrade
from tests.postgres import Databases, a_server

ROUNDS = 3
COMMITS = 4


class Nothing:
    """A step that does nothing, successfully."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def execute(self, _context: Context) -> dict[str, str]:
        return {"id": self.name}

    async def compensate(self, _context: Context) -> None: ...


async def in_turn(clients: int, seconds: float, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Have so many clients do the work again and again; return how often a second, and the median in ms."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        while (began := time.perf_counter()) < end:
            await work()
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(took) / (time.perf_counter() - began), statistics.median(took) * 1000


async def sagas(url: str, clients: int, seconds: float) -> tuple[float, float]:
    """Measure whole sagas over the log at `url`."""
    definition = (
        SagaDefinition("checkout").do(Nothing("payment")).do(Nothing("inventory")).pivot(Nothing("shipping"))
    )
    async with open_storage(url) as storage:
        clock = SystemClock()
        orchestrator = SagaOrchestrator(definition, storage.log, clock=clock)
        runner = SagaRunner(Definitions([definition]), storage.log, orchestrator, clock=clock)

        async def one() -> None:
            saga_id = str(uuid7())
            new = NewSaga(id=saga_id, definition="checkout", version=1, order_id=saga_id, customer_id="cus-1")
            running = runner.launch(new)
            await running.done
            assert running.run.state.status is SagaStatus.COMPLETED

        return await in_turn(clients, seconds, one)


async def floor(url: str, clients: int, seconds: float) -> tuple[float, float]:
    """Measure four bare commits a checkout, one connection a client: what PostgreSQL gives without a saga."""
    pool = await asyncpg.create_pool(url, min_size=clients, max_size=clients)
    try:
        await pool.execute(
            "CREATE TABLE IF NOT EXISTS bare (id uuid, seq int, data json, PRIMARY KEY (id, seq))"
        )

        async def one() -> None:
            saga_id = str(uuid7())
            async with pool.acquire() as connection:
                for seq in range(COMMITS):
                    await connection.execute("INSERT INTO bare VALUES ($1, $2, $3)", saga_id, seq, '{"a": 1}')

        return await in_turn(clients, seconds, one)
    finally:
        await pool.close()


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    console = Console()
    rates: dict[tuple[str, int], list[float]] = {}
    medians: dict[tuple[str, int], list[float]] = {}
    with a_server() as server, tempfile.TemporaryDirectory() as directory:
        postgres = Databases(server=server).create("bench", template=None)
        sqlite = f"sqlite:///{Path(directory) / 'bench.db'}"
        upgrade(postgres)
        upgrade(sqlite)
        sides: dict[str, Callable[[int], Coroutine[Any, Any, tuple[float, float]]]] = {
            "sagas on PostgreSQL": lambda clients: sagas(postgres, clients, given.seconds),
            "4 bare commits on PostgreSQL": lambda clients: floor(postgres, clients, given.seconds),
            "sagas on SQLite (FULL)": lambda clients: sagas(sqlite, clients, given.seconds),
        }
        with console.status("measuring"):
            for _ in range(ROUNDS):
                for clients in given.clients:
                    for side, measure in sides.items():
                        rate, median = asyncio.run(measure(clients))
                        rates.setdefault((side, clients), []).append(rate)
                        medians.setdefault((side, clients), []).append(median)
    table = Table("side", "clients", "checkouts/s", "spread", "p50 ms")
    for (side, clients), values in rates.items():
        spread = f"{min(values):.0f}–{max(values):.0f}"
        p50 = statistics.median(medians[side, clients])
        table.add_row(side, str(clients), f"{statistics.median(values):.0f}", spread, f"{p50:.2f}")
    console.print(table)
    console.print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, fsync on; median of {ROUNDS} rounds"
    )


if __name__ == "__main__":
    main()
