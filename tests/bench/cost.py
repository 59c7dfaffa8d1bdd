"""What a million checkouts a day take, worked out from what one takes here.

`python -m tests.bench.cost --write` measures bytes, WAL, commits and processor time of a checkout and makes
docs/cost.md of them.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.markdown import Markdown

from app.storage.schema.migrations import upgrade
from tests.bench import filling
from tests.bench.growth import SOURCES, fill_finished
from tests.bench.measuring import program, served
from tests.bench.page import FeedItem
from tests.bench.sides.over_http import this_service
from tests.postgres import Databases, a_server
from tests.processes import ROOT

TEMPLATE = Path(__file__).with_name("cost.md")
FILLED = 100_000
CLIENTS = (1, 16, 64)
DAY = 86_400
PEAK = 10
"""A shop's busiest second beside its average one: a choice, not a measurement."""

BUSY = 0.7
"""Up to which share of a core one should plan: a choice as well."""


@dataclass(frozen=True, kw_only=True)
class Sagas:
    """What a saga took at so many clients, three steps in process."""

    clients: int
    rate: float
    commits: float
    wal: float
    postgres: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured: bytes a saga, the service's processor time a checkout in microseconds, bare commits a second."""

    data: float
    indexes: float
    sagas: Sequence[Sagas]
    app: float
    service_rate: float
    postgres: float
    commits: dict[int, float]


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What so many checkouts a day need."""

    per_day: float
    peak: float
    replicas: int
    postgres_cores: float
    wal_megabytes: float
    stored_gigabytes: float
    most_commits: float


def needed(per_day: float, figures: Figures) -> Needed:
    """Work out what so many checkouts a day need: replicas of one core each, and one more to lose."""
    peak = per_day / DAY * PEAK
    busiest = figures.sagas[-1]
    return Needed(
        per_day=per_day,
        peak=peak,
        replicas=math.ceil(peak * figures.app / 1e6 / BUSY) + 1,
        postgres_cores=peak * figures.postgres / 1e6 / BUSY,
        wal_megabytes=peak * busiest.wal / 1e6,
        stored_gigabytes=per_day * (figures.data + figures.indexes) / 1e9,
        most_commits=peak * figures.sagas[0].commits,
    )


def page(figures: Figures, machine: str, command: str) -> str:
    """Return docs/cost.md."""
    measured = "\n".join(
        f"| {one.clients} | {one.rate:,.0f} | {one.commits:.2f} | {one.wal:,.0f} | {one.postgres:,.0f} |"
        for one in figures.sagas
    )
    plan = "\n".join(
        f"| {one.per_day / 1e6:,.0f} million | {one.peak:,.0f} | {one.replicas} | {one.postgres_cores:.1f} | "
        f"{one.wal_megabytes:,.1f} | {one.stored_gigabytes:,.1f} | {one.most_commits:,.0f} |"
        for one in (needed(millions * 1e6, figures) for millions in (1, 10, 100))
    )
    a_core = BUSY * 1e6 / figures.postgres
    return TEMPLATE.read_text().format(
        command=command,
        machine=machine,
        measured=measured,
        plan=plan,
        peak=PEAK,
        busy=f"{BUSY:.0%}",
        data=f"{figures.data:,.0f}",
        indexes=f"{figures.indexes:,.0f}",
        together=f"{figures.data + figures.indexes:,.0f}",
        app=f"{figures.app:,.0f}",
        service_rate=f"{figures.service_rate:,.0f}",
        postgres=f"{figures.postgres:,.0f}",
        alone=f"{figures.commits[1]:,.0f}",
        many=f"{figures.commits[64]:,.0f}",
        wal=f"{figures.sagas[-1].wal:,.0f}",
        a_core=f"{a_core:,.0f}",
        sixteen=f"{16 * a_core:,.0f}",
        sixteen_day=f"{16 * a_core / PEAK * DAY / 1e6:,.0f}",
        sixteen_wal=f"{16 * a_core * figures.sagas[-1].wal / 1e6:,.0f}",
        year=f"{365e6 * (figures.data + figures.indexes) / 1e9:,.0f}",
        ninety=f"{90e6 * (figures.data + figures.indexes) / 1e9:,.0f}",
    )


def measure(seconds: float) -> Figures:
    """Measure all of it on a PostgreSQL of its own."""
    with a_server() as server:
        databases = Databases(server=server)
        upgrade(databases.create(SOURCES))
        asyncio.run(filling.run_sources(databases.url(SOURCES)))
        sizes = asyncio.run(fill_finished(databases.create("filled", template=SOURCES), FILLED))
        ours, service, bare = (databases.create(name, template=None) for name in ("ours", "service", "bare"))
        for url in (ours, service):
            upgrade(url)
        saga = program([sys.executable, "-m", "tests.bench.sides.saga"], ours, seconds)
        commits = program(
            [sys.executable, "-m", "tests.bench.sides.commits"], bare, seconds, BENCH_COMMITS="1"
        )
        http = served(this_service(service, "--workers", "1"), seconds)
        sagas = []
        for clients in CLIENTS:
            told, wal = _beside(ours, partial(saga, clients, "completed"))
            sagas.append(
                Sagas(
                    clients=clients,
                    rate=told["rate"],
                    commits=told["commits"],
                    wal=wal,
                    postgres=told["postgres"],
                )
            )
        told = http(64, "completed")
        return Figures(
            data=sum(size.data for size in sizes) / FILLED,
            indexes=sum(size.indexes for size in sizes) / FILLED,
            sagas=sagas,
            app=told["cpu"],
            service_rate=told["rate"],
            postgres=told["postgres"],
            commits={clients: commits(clients, "completed")["rate"] for clients in (1, 64)},
        )


def _beside(url: str, run: Callable[[], FeedItem]) -> tuple[FeedItem, float]:
    """Return what a run told, and how much WAL in bytes a checkout made."""
    wal = asyncio.run(_wal(url))
    told = run()
    wal = asyncio.run(_wal(url)) - wal
    return told, wal / (told["checkouts"] + told["warm_up"])


async def _wal(url: str) -> int:
    """Return how much WAL the server has written so far, in bytes."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))
    finally:
        await connection.close()


def main() -> None:
    """Measure, print, and write the page where that is wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cost", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--write", action="store_true", help="write docs/cost.md")
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    machine = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, fsync on, {given.seconds:g} s each"
    )
    told = page(
        measure(given.seconds), machine, f"python -m tests.bench.cost {' '.join(sys.argv[1:])}".strip()
    )
    Console(width=120).print(Markdown(told))
    if given.write:
        (ROOT / "docs" / "cost.md").write_text(told)


if __name__ == "__main__":
    main()
