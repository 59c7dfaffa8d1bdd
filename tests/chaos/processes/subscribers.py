"""Watchers beside a load, and a replica that dies: `python -m tests.chaos.processes.subscribers`.

Two replicas on one PostgreSQL take checkouts at a steady rate, watchers follow them over server-sent
events, and one replica is killed half-way. A watcher that was cut off continues at the other one with
`Last-Event-ID`. In the end what each watcher saw is held against the trail.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from app.storage.schema.migrations import upgrade
from tests.postgres import Databases, a_server
from tests.processes import Running, a_checkout, an_order, together

SETTLE_SECONDS = 60.0
REPLICA = {
    "CHECKOUT_LEASE_SECONDS": "3",
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.2",
    "CHECKOUT_EVENT_STREAM_POLL_SECONDS": "0.25",
    "CHECKOUT_LOG_LEVEL": "error",
}


@dataclass(kw_only=True)
class Seen:
    """What came of a run."""

    sagas: int = 0
    followed: int = 0
    events: int = 0
    reconnects: int = 0
    wrong: list[str] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)

    @property
    def lag(self) -> tuple[float, float]:
        """The median and the 99th percentile of how long after its time an event came, in seconds."""
        cuts = statistics.quantiles(self.lags, n=100)
        return cuts[49], cuts[98]


@dataclass(kw_only=True)
class Load:
    """How many watch, and how much happens."""

    watchers: int
    per_second: int
    seconds: float
    step_seconds: float


class Shop:
    """The two replicas as their clients see them."""

    def __init__(self, replicas: list[Running], session: aiohttp.ClientSession) -> None:
        self.urls = [replica.url for replica in replicas]
        self.alive = list(self.urls)
        self.session = session
        self.sagas: asyncio.Queue[str | None] = asyncio.Queue()
        self.seen = Seen()
        self.saw: list[tuple[str, list[int]]] = []
        self._turn = itertools.count()

    def url(self) -> str:
        """Return each replica's URL in turn."""
        return self.alive[next(self._turn) % len(self.alive)]

    async def place(self, number: int) -> None:
        """Place an order until it is durable, under one key."""
        headers = {"Idempotency-Key": f"key-{number}", "Prefer": "respond-async"}
        while True:
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                order = an_order(f"ord-{number}")
                async with self.session.post(f"{self.url()}/checkout", json=order, headers=headers) as answer:
                    body = await answer.json(content_type=None)
                    if answer.status in {201, 202}:
                        self.seen.sagas += 1
                        self.sagas.put_nowait(body["id"])
                        return
            await asyncio.sleep(0.1)

    async def watch_one_after_another(self, share: int) -> None:
        """Follow sagas until there are no more; a saga is handed on until `share` watchers have it."""
        while (saga_id := await self.sagas.get()) is not None:
            name, _, had = saga_id.partition(" ")
            if int(had or 1) < share:
                self.sagas.put_nowait(f"{name} {int(had or 1) + 1}")
            await self._follow(name)
            self.sagas.task_done()
        self.sagas.put_nowait(None)

    async def _follow(self, saga_id: str) -> None:
        seqs: list[int] = []
        ended = False
        while not ended:
            headers = {"Last-Event-ID": str(seqs[-1])} if seqs else {}
            try:
                url = f"{self.url()}/sagas/{saga_id}/events"
                async with self.session.get(url, headers=headers) as answer:
                    if answer.status == 200:
                        ended = await self._read(answer, seqs)
            except (aiohttp.ClientError, ConnectionError):
                pass
            if not ended:
                self.seen.reconnects += 1
                await asyncio.sleep(0.2)
        self.saw.append((saga_id, seqs))
        self.seen.followed += 1
        self.seen.events += len(seqs)

    async def judge(self) -> None:
        """Hold what each watcher saw against the trail."""
        trails: dict[str, list[int]] = {}
        for saga_id, seqs in self.saw:
            if saga_id not in trails:
                trails[saga_id] = await self._trail(saga_id)
            if seqs != trails[saga_id]:
                self.seen.wrong.append(f"{saga_id}: saw {seqs} of {trails[saga_id]}")

    async def _trail(self, saga_id: str) -> list[int]:
        """Return the numbers of a saga's events, asked for again while there is no answer or a 503."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                    async with self.session.get(f"{self.url()}/sagas/{saga_id}") as answer:
                        body = await answer.json(content_type=None)
                        if answer.status == 200:
                            return [event["seq"] for event in body["trail"]]
                        assert answer.status == 503, body
                await asyncio.sleep(0.1)

    async def _read(self, answer: aiohttp.ClientResponse, seqs: list[int]) -> bool:
        """Read frames until the stream ends; return whether its saga did."""
        async for line in answer.content:
            if line.startswith(b"event: end"):
                return True
            if line.startswith(b"id: "):
                seqs.append(int(line[4:]))
            if line.startswith(b"data: {") and b'"at"' in line:
                at = datetime.fromisoformat(json.loads(line[6:])["at"])
                self.seen.lags.append((datetime.now(UTC) - at).total_seconds())
        return False


async def run(replicas: list[Running], load: Load) -> Seen:
    """Have watchers beside the load; kill the first replica half-way."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        shop = Shop(replicas, session)
        orders = int(load.per_second * load.seconds)
        lasts = 3 * load.step_seconds
        share = max(1, round(load.watchers / (load.per_second * lasts)))
        watching = [asyncio.create_task(shop.watch_one_after_another(share)) for _ in range(load.watchers)]
        placing = []
        began = time.monotonic()
        for number in range(orders):
            if number == orders // 2:
                shop.alive = shop.urls[1:]
                replicas[0].kill()
            placing.append(asyncio.create_task(shop.place(number)))
            await asyncio.sleep(max(0.0, began + (number + 1) / load.per_second - time.monotonic()))
        await asyncio.gather(*placing)
        async with asyncio.timeout(SETTLE_SECONDS):
            await shop.sagas.join()
            shop.sagas.put_nowait(None)
            await asyncio.gather(*watching)
        await shop.judge()
        return shop.seen


@contextlib.contextmanager
def two_replicas(postgres: str, directory: Path, step_seconds: float) -> Iterator[list[Running]]:
    """Run two replicas over one database, with one sandbox's books."""
    env = {
        **REPLICA,
        "DATABASE_URL": postgres,
        "SANDBOX_DATABASE": str(directory / "sandbox.db"),
        "SANDBOX_LATENCY_SECONDS": str(step_seconds),
    }
    with together(*(a_checkout(env, directory / f"replica-{n}.log") for n in range(2))) as replicas:
        yield replicas


def main() -> None:
    """Run it, print the figures, and end with 1 where a watcher missed something."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.processes.subscribers", description=__doc__)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--per-second", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--step-seconds", type=float, default=2.0)
    given = parser.parse_args()
    load = Load(**vars(given))
    with a_server() as server, tempfile.TemporaryDirectory() as directory:
        url = Databases(server=server).create("watchers", template=None)
        upgrade(url)
        with two_replicas(url, Path(directory), load.step_seconds) as replicas:
            seen = asyncio.run(run(replicas, load))
    median, slow = seen.lag
    table = Table("what", "figure", title=f"{load.watchers} watchers, {os.cpu_count()} cores, one kill -9")
    table.add_row("checkouts", f"{seen.sagas} at {load.per_second} a second")
    table.add_row("sagas followed", str(seen.followed))
    table.add_row("events seen", str(seen.events))
    table.add_row("reconnects", str(seen.reconnects))
    table.add_row("lag p50, p99", f"{median * 1000:.0f} ms, {slow * 1000:.0f} ms")
    table.add_row("missed, doubled or out of order", str(len(seen.wrong)))
    Console().print(table)
    for line in seen.wrong[:10]:
        Console().print(line)
    raise SystemExit(1 if seen.wrong else 0)


if __name__ == "__main__":
    main()
