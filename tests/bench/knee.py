"""The service beyond its knee: `python -m tests.bench.knee`, or `make bench-knee`.

It is offered half of what it can do, all of it, 1.25 times, twice and five times as much, then half again; so many
times its limit of clients that send again what was refused, at once or after Retry-After; and half of what it can do
while a tenth of the orders meet a slow carrier. Prints what was answered and how each promise was kept; with --write
makes docs/load.md. Exits with 1 where something was lost or a refusal has no Retry-After; a speed that
wasn't reached is told, and is no failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx2 as httpx
from rich.console import Console

from app.storage.schema.migrations import upgrade
from tests.bench.load_page import Left, Phase, Run, page, table, verdict_table, verdicts
from tests.bench.open_loop import FeedItem
from tests.bench.resident import resident
from tests.bench.sides.clock import processor_seconds
from tests.bench.slow_carrier import SLOW_SECONDS
from tests.bench.unauthenticated import HEADING, PAGE
from tests.postgres import Databases, a_server
from tests.processes import ROOT, Running, a_checkout, free_port, running

TIMES = (0.5, 1.0, 1.25, 2.0, 5.0, 0.5)
LIMIT = 512
"""Checkouts in flight, by default."""
REPEATING = (1.25, 2.0, 5.0)
SLOW_SHARE = 0.1
WARM_UP_SECONDS = 1.0
FINISHED_SECONDS = 60.0
"""How long sagas may go on after the last order."""

SAMPLE = 50
SETTINGS = {"CHECKOUT_ACCESS_LOG": "false", "SANDBOX_DATABASE": ":memory:"}
"""As in `make bench`, but for the limit of checkouts in flight, which is the default one."""


@dataclass(kw_only=True)
class Trial:
    """One service, its database, and what came of each phase."""

    server: Running
    database: str
    given: argparse.Namespace
    phases: list[Phase] = field(default_factory=list)

    def knee(self) -> float:
        """Find how many checkouts a second clients in a closed loop get."""
        clients = ["--clients", str(self.given.clients)]
        self._generate(*clients, "--seconds", str(WARM_UP_SECONDS), name="warm-up")
        self.phase("knee", 0.0, self.given.knee_seconds, *clients)
        return self.phases[0].goodput

    def at(self, times: float, knee: float, *, slow_share: float = 0.0) -> None:
        """Offer so many times the knee."""
        name = f"{times:g}×" + (f", {slow_share:.0%} slow" if slow_share else "")
        how = ["--rate", str(max(1.0, knee * times)), "--open", str(self.given.open)]
        self.phase(name, times, self.given.seconds, *how, "--slow-share", str(slow_share))

    def phase(self, name: str, times: float, seconds: float, *how: str) -> None:
        """Run the generator once, and look at the service afterwards."""
        pid = self.server.process.pid
        before, began = processor_seconds(pid), time.monotonic()
        told = self._generate(*how, "--seconds", str(seconds), name=name)
        cpu = (processor_seconds(pid) - before) / (time.monotonic() - began)
        held = self.metric("checkout_lease_held") == 1
        self.phases.append(Phase(name=name, times=times, told=told, memory=resident(pid), cpu=cpu, held=held))

    def metric(self, name: str) -> float:
        """Return one of the service's figures."""
        text = httpx.get(f"{self.server.url}/metrics", timeout=30, trust_env=False).text
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def run(self) -> Run:
        """Return all of it, once every saga is finished or has had its time."""
        return Run(phases=self.phases, left=asyncio.run(self._left()))

    def _generate(self, *how: str, name: str) -> FeedItem:
        prefix = f"{len(self.phases)}-{random.randrange(10**9)}"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.bench.open_loop",
                "--url",
                self.server.url,
                "--prefix",
                prefix,
                *how,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=self.given.seconds + 120,
        )
        assert done.returncode == 0, f"the generator broke down in {name}"
        told: FeedItem = json.loads(done.stdout)
        return told

    async def _left(self) -> Left:
        connection = await asyncpg.connect(self.database)
        try:
            unfinished = await _finished(connection)
            rows = await connection.fetch("SELECT id::text, order_id, status, epoch FROM saga")
        finally:
            await connection.close()
        status = {row["id"]: row["status"] for row in rows}
        orders = {row["order_id"] for row in rows}
        accepted = {saga for phase in self.phases for saga in phase.told["accepted"].values()}
        refused = {order for phase in self.phases for order in phase.told["refused"]}
        return Left(
            sagas=len(rows),
            accepted=len(accepted),
            accepted_not_completed=sum(status.get(saga) != "completed" for saga in accepted),
            unfinished=unfinished,
            refused=len(refused),
            refused_with_saga=len(refused & orders),
            unread=self._unread(sorted(accepted)[:: max(1, len(accepted) // SAMPLE)]),
            takeovers=int(self.metric("checkout_takeovers_total")),
            moved_on=sum(row["epoch"] > 1 for row in rows),
        )

    def _unread(self, sagas: list[str]) -> int:
        """Return how many of these sagas aren't shown as completed; a 503 is no verdict, and asked again."""
        shown: list[str] = []
        give_up = time.monotonic() + FINISHED_SECONDS
        with httpx.Client(base_url=self.server.url, timeout=30, trust_env=False) as client:
            for saga in sagas:
                while (answer := client.get(f"/sagas/{saga}")).status_code == 503:
                    if time.monotonic() > give_up:
                        break
                    time.sleep(0.1)  # as a client does before it asks again
                shown.append(answer.json().get("status"))
        return len(sagas) - shown.count("completed")


async def _finished(connection: asyncpg.Connection) -> int:
    """Wait until every saga is finished; return how many weren't in time."""
    give_up = time.monotonic() + FINISHED_SECONDS
    while True:
        left: int = await connection.fetchval("SELECT count(*) FROM saga WHERE finished_at IS NULL")
        if not left or time.monotonic() > give_up:
            return left
        await asyncio.sleep(0.1)


@contextmanager
def a_trial(
    databases: Databases, name: str, folder: Path, env: Mapping[str, str], given: argparse.Namespace
) -> Iterator[Trial]:
    """Run a service on a database of its own."""
    url = databases.create(name, template=None)
    upgrade(url)
    with a_checkout({**SETTINGS, "DATABASE_URL": url, **env}, folder / f"{name}.log") as server:
        yield Trial(server=server, database=url, given=given)


@contextmanager
def a_carrier(folder: Path) -> Iterator[Running]:
    """Run the carrier that is slow with some orders."""
    port = free_port()
    app = [sys.executable, "-m", "uvicorn", "tests.bench.slow_carrier:app", "--log-level", "warning"]
    command = [*app, "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port=port, env={}, log=folder / "carrier.log", ready="/livez") as server:
        yield server


def under_load(databases: Databases, folder: Path, given: argparse.Namespace) -> Run:
    """Offer ever more than can be done, then less again."""
    with a_trial(databases, "load", folder, {}, given) as trial:
        knee = trial.knee()
        for times in TIMES:
            trial.at(times, knee)
        return trial.run()


def with_clients_that_repeat(databases: Databases, folder: Path, given: argparse.Namespace) -> Run:
    """Have more clients than there may be checkouts at once, who send again what was refused."""
    with a_trial(databases, "repeat", folder, {}, given) as trial:
        trial.knee()
        for times in REPEATING:
            clients = ["--clients", str(round(LIMIT * times))]
            trial.phase(f"{clients[1]} at once", times, given.seconds, *clients)
            trial.phase(f"{clients[1]} patient", times, given.seconds, *clients, "--patient")
        return trial.run()


def beside_a_slow_service(databases: Databases, folder: Path, given: argparse.Namespace) -> Run:
    """Offer half of what can be done, without and with slow orders among them."""
    with (
        a_carrier(folder) as carrier,
        a_trial(databases, "slow", folder, {"SHIPPING_URL": carrier.url}, given) as trial,
    ):
        knee = trial.knee()
        trial.at(0.5, knee)
        trial.at(0.5, knee, slow_share=SLOW_SHARE)
        return trial.run()


def main() -> None:
    """Measure, judge, print, and write the page where that is wanted."""
    parser = argparse.ArgumentParser(prog="make bench-knee", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    parser.add_argument(
        "--knee-seconds", type=float, default=4.0, help="of the closed loop that finds the knee"
    )
    parser.add_argument("--clients", type=int, default=64, help="in the closed loop")
    parser.add_argument(
        "--open", type=int, default=1024, help="connections kept open; 0: each client connects anew"
    )
    parser.add_argument("--write", action="store_true", help="write docs/load.md")
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    console = Console(width=190)
    with a_server() as server, tempfile.TemporaryDirectory() as folder:
        databases = Databases(server=server)
        load = under_load(databases, Path(folder), given)
        console.print(table("under load", load))
        repeating = with_clients_that_repeat(databases, Path(folder), given)
        console.print(table("with clients that repeat what was refused", repeating))
        slow = beside_a_slow_service(databases, Path(folder), given)
        console.print(table(f"beside a carrier that takes {SLOW_SECONDS:g} s", slow))
        origin = server.origin
    found = verdicts(load, repeating, slow)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {origin}, fsync on"
    console.print(verdict_table(found))
    console.print(machine)
    if given.write:
        written = page(
            load,
            repeating,
            slow,
            command=f'make bench-knee ARGS="{" ".join(sys.argv[1:])}"',
            machine=machine,
            clients=given.clients,
            slow_seconds=SLOW_SECONDS,
            connections=given.open,
        )
        others = PAGE.read_text().partition(HEADING)[2]
        PAGE.write_text(f"{written.rstrip()}\n\n{HEADING}{others}" if others else written)
    sys.exit(any(one.must and not one.kept for one in found))


if __name__ == "__main__":
    main()
