"""What a grown table costs: throughput, pages, claims and takeovers on a database that is no longer new.

`python -m tests.bench.growth`, or `make bench-growth`. Prints tables and a verdict for each promise, and with
--write makes docs/growth.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import uvloop
from pydantic import SecretStr
from rich.console import Console

from app.bootstrap.service import open_service
from app.saga.model.errors import LogUnavailable
from app.saga.model.status import SagaStatus
from app.saga.ports.queries import SagaFilter
from app.settings.settings import Settings
from app.storage import open_storage
from app.storage.sagas.claims import due_sagas
from app.storage.schema.migrations import upgrade
from tests.bench import filling
from tests.bench.growth_page import Growth, Recovered, Timed, amount, page, per_saga, tables
from tests.bench.page import FeedItem
from tests.bench.sides.clock import postgres_seconds
from tests.postgres import Databases, a_server
from tests.processes import ROOT

T = TypeVar("T")

PARTS = ("throughput", "pages", "claims", "takeover", "waiting")
SOURCES = "sources"
PILOT = 10_000
"""So many sagas are filled first, to know what the others will take on the disk."""

ROOM = 1.5
"""How much more than the tables' own size the filling may take at its worst: WAL, and sorting for the indexes."""

PAGE = 21
"""One more than a page shows, as the API asks for it."""

DEFINITIONS = [("checkout", 1)]
MOST_MS = 10_000.0
"""For so long one page is asked for."""

CLAIM = 100
CLAIMED_UNFINISHED = 10_000
CLAIMS = 30
TAKEOVER_SECONDS = 600


class Bench:
    """The server's databases, and what is measured on them."""

    def __init__(self, databases: Databases, given: argparse.Namespace, growth: Growth, say: Console) -> None:
        self._databases = databases
        self._given = given
        self._growth = growth
        self._say = say

    def run(self) -> None:
        """Measure the parts that were asked for."""
        upgrade(self._databases.create(SOURCES))
        asyncio.run(filling.run_sources(self._databases.url(SOURCES)))
        parts = self._given.parts
        if {"throughput", "pages", "claims"} & set(parts):
            self._grown(parts)
        if "takeover" in parts:
            for unfinished in sorted(self._given.unfinished):
                self._growth.recovered.append(self._takeover(unfinished))
        if "waiting" in parts:
            self._waiting()

    def _grown(self, parts: Sequence[str]) -> None:
        counts = sorted(set(self._given.finished))
        self._check_room(sum(counts))
        urls = {count: self._filled(count) for count in counts}
        if "throughput" in parts:
            for _ in range(self._given.rounds):
                for count, url in urls.items():
                    self._growth.rates.setdefault(count, []).append(self._rate(url))
        if "pages" in parts:
            self._growth.pages += uvloop.run(pages(urls[counts[-1]], self._given.calls, counts[-1]))
        if "claims" in parts:
            for count in sorted({counts[0], counts[-1]}):
                self._growth.claims += uvloop.run(claims(urls[count], count))
        for count in counts:
            self._databases.drop(_name(count))

    def _check_room(self, count: int) -> None:
        """Say how much so many sagas will take, and end here where the disk hasn't got it."""
        url = self._databases.create("pilot", template=SOURCES)
        needed = sum(per_saga(asyncio.run(fill_finished(url, PILOT)), PILOT)) * count
        self._databases.drop("pilot")
        self._say.print(f"{count:,} finished sagas will take about {amount(needed)}")
        home = asyncio.run(
            _asked(self._databases.server.url, lambda one: one.fetchval("SHOW data_directory"))
        )
        if Path(str(home)).parent.exists() and shutil.disk_usage(Path(str(home)).parent).free < needed * ROOM:
            sys.exit(f"There is no room for that in {home}: give smaller --finished.")

    def _filled(self, count: int) -> str:
        url = self._databases.create(_name(count), template=SOURCES)
        began = time.perf_counter()
        self._growth.sizes[count] = asyncio.run(fill_finished(url, count))
        self._growth.filled[count] = time.perf_counter() - began
        data, indexes = per_saga(self._growth.sizes[count], max(1, count))
        took = self._growth.filled[count]
        self._say.print(f"{count:,} filled in {took:.1f} s: {data:,.0f} + {indexes:,.0f} bytes a saga")
        return url

    def _rate(self, url: str) -> FeedItem:
        return self._told("saga", url, self._given.clients, "--whole-orders")

    def _takeover(self, unfinished: int) -> Recovered:
        alone, beside = (
            self._databases.create(f"{name}_{unfinished}", template=SOURCES) for name in ("alone", "beside")
        )
        asyncio.run(fill(beside, partial(filling.add_unfinished, count=unfinished)))
        told = Recovered(
            unfinished=unfinished,
            alone=self._told("replica", alone, self._given.clients),
            told=self._told("replica", beside, self._given.clients, unfinished=unfinished),
            ends=asyncio.run(_ends(beside, filling.UNFINISHED)),
        )
        for name in ("alone", "beside"):
            self._databases.drop(f"{name}_{unfinished}")
        return told

    def _told(self, side: str, url: str, clients: int, *options: str, unfinished: int = 0) -> FeedItem:
        """Run one of the sides, and return what it tells; more than this process can't be waited for."""
        command = [sys.executable, "-m", f"tests.bench.sides.{side}", "--url", url, "--clients", str(clients)]
        command += ["--seconds", str(self._given.seconds), *options]
        if unfinished:
            command += ["--unfinished", str(unfinished), "--at-most", str(TAKEOVER_SECONDS)]
        done = subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=TAKEOVER_SECONDS + 120
        )
        told: FeedItem = json.loads(done.stdout.splitlines()[-1])
        self._say.print(f"{side}, {urlsplit(url).path}: {told['rate']:,.0f} checkouts/s")
        return told

    def _idle(self, url: str) -> FeedItem:
        before = postgres_seconds()
        told = self._told("replica", url, 0)
        return {**told, "postgres_ms_per_second": (postgres_seconds() - before) / told["lasted"] * 1000}

    def _waiting(self) -> None:
        growth = self._growth
        growth.waiting = self._given.waiting
        urls = {}
        for count in (0, growth.waiting):
            urls[count] = self._databases.create(f"waiting_{count}", template=SOURCES)
            asyncio.run(fill(urls[count], partial(filling.add_waiting, count=count)))
        for _ in range(self._given.rounds):
            for count, url in urls.items():
                growth.idle.setdefault(count, []).append(self._idle(url))
                growth.busy.setdefault(count, []).append(self._told("replica", url, self._given.clients))
        left = asyncio.run(_ends(urls[growth.waiting], filling.WAITING))
        assert left == {"running": growth.waiting}, f"who waits must not be touched: {left}"
        for count in urls:
            self._databases.drop(f"waiting_{count}")


def _name(count: int) -> str:
    return f"finished_{count}"


async def fill(url: str, add: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
    """Add sagas to a database, with its indexes in place."""
    async with filling.filling(url) as connection:
        await add(connection)


async def fill_finished(url: str, count: int) -> list[filling.TableSize]:
    """Fill a database with so many finished sagas, and return what that takes."""
    async with filling.filling(url) as connection, filling.without_indexes(connection):
        for first, last in filling.chunks(count):
            await filling.add_finished(connection, first, last, count)
    return await _asked(url, filling.sizes)


async def _asked(url: str, ask: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    connection = await asyncpg.connect(url)
    try:
        return await ask(connection)
    finally:
        await connection.close()


async def _ends(url: str, customer: str) -> dict[str, int]:
    return await _asked(url, partial(filling.ends, customer=customer))


async def timed(name: str, calls: int, ask: Callable[[], Awaitable[int]]) -> Timed:
    """Ask so often, and once before on a cold cache; less often where that would take too long.

    `ask` returns how many sagas came back; none do where the database was given up.
    """
    sagas, took, paused = 0, list[float](), list[float]()
    with suppress(LogUnavailable):
        sagas = await ask()
    with collector_pauses() as pauses:
        while len(took) < calls and sum(took) < MOST_MS:
            pauses.clear()
            began = time.perf_counter()
            with suppress(LogUnavailable):
                await ask()
            took.append((time.perf_counter() - began) * 1000)
            paused.append(sum(pauses) * 1000)
    return Timed(name=name, sagas=sagas, took=took, paused=paused)


@contextmanager
def collector_pauses() -> Iterator[list[float]]:
    """Give a list to which each garbage collection adds the seconds for which it stops this process."""
    pauses: list[float] = []
    began = 0.0

    def note(phase: str, _info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - began)

    gc.callbacks.append(note)
    try:
        yield pauses
    finally:
        gc.callbacks.remove(note)


async def pages(url: str, calls: int, count: int) -> list[Timed]:
    """Time what the list, a search and a look at one saga read, through the service's own functions."""
    settings = Settings(database_url=SecretStr(url), sandbox_database=":memory:", keep_data_days=0)
    async with open_service(settings) as service:
        reader = service.reader

        def listed(before: str | None = None, **wanted: Any) -> Callable[[], Awaitable[int]]:
            async def ask() -> int:
                return len(await reader.list_sagas(SagaFilter(**wanted), before=before, limit=PAGE))

            return ask

        middle, begun = await _asked(url, partial(filling.nth, number=count // 2))
        one, _ = await _asked(url, partial(filling.nth, number=count // 3))

        async def get() -> int:
            return int(await reader.get(one) is not None)

        order, customer = f"ord-{count // 2}", "cus-1"
        asked: list[tuple[str, Callable[[], Awaitable[int]]]] = [
            ("first page", listed()),
            ("first page of the only caller", listed(caller="")),
            ("first page of a caller without sagas", listed(caller="nobody")),
            ("deep page by cursor", listed(middle)),
            *((f"status {status.value}", listed(status=status)) for status in SagaStatus),
            ("order id", listed(order_id=order)),
            ("order id, one caller's", listed(order_id=order, caller="")),
            ("customer id", listed(customer_id=customer)),
            ("customer id, one caller's", listed(customer_id=customer, caller="")),
            ("begun before a time in the middle", listed(created_before=begun)),
            ("begun after a time in the middle", listed(created_after=begun)),
            ("begun after now", listed(created_after=datetime.now(UTC))),
            ("failed at shipping", listed(failing_step="shipping")),
            ("failed at a step that never does", listed(failing_step="inventory")),
            ("saga by id", get),
        ]
        return [await timed(name, calls, ask) for name, ask in asked]


async def claims(url: str, count: int) -> list[Timed]:
    """Time claims of a dead owner's sagas beside so many finished ones, and the finding of them alone."""
    await fill(url, partial(filling.add_unfinished, count=CLAIMED_UNFINISHED))
    async with open_storage(url) as storage:
        await storage.log.renew("claimer", seconds=3600)

        async def find() -> int:
            async with storage.log.writing() as connection:
                now = await storage.log.now(connection)
                alive = await storage.log._replicas.alive(connection)
                return len((await connection.execute(due_sagas(now, alive, DEFINITIONS, CLAIM))).all())

        async def claim() -> int:
            return len(await storage.log.claim(owner="claimer", definitions=DEFINITIONS, limit=CLAIM))

        where = f"of {CLAIM} of {CLAIMED_UNFINISHED:,} unfinished, beside {count:,} finished"
        return [await timed(f"finding {where}", CLAIMS, find), await timed(f"claim {where}", CLAIMS, claim)]


def main() -> None:
    """Measure, print, and write the page where that is wanted."""
    parser = argparse.ArgumentParser(prog="make bench-growth", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--finished", type=int, nargs="+", default=[0, 100_000, 5_000_000])
    parser.add_argument("--unfinished", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=50, help="of each page")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--write", action="store_true", help="write docs/growth.md")
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    console = Console(width=150)
    growth = Growth(machine="", command=f'make bench-growth ARGS="{" ".join(sys.argv[1:])}"')
    with a_server() as server:
        databases = Databases(server=server)
        growth.machine = (
            f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL {databases.version()} from "
            f"{server.origin}, fsync on; {given.clients} clients, medians of {given.rounds} rounds of "
            f"{given.seconds:g} s in turn"
        )
        Bench(databases, given, growth, console).run()
    for table in tables(growth):
        console.print(table)
    console.print(growth.machine)
    if given.write:
        (ROOT / "docs" / "growth.md").write_text(page(growth))


if __name__ == "__main__":
    main()
