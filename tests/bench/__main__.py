"""This service beside its peers and its floor: the sides run in turn, round after round, in one go.

Prints medians with their spread, and with --write makes docs/benchmarks.md. A side that can't run here, or
not with so many clients, says why and is left out there. All of it takes half an hour on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from app.storage.engine.migrations import upgrade
from tests.bench.page import Cell, FeedItem, Measured, left_out, page, table
from tests.bench.peers import DBOS, RESTATE, NotFetched, python_with, restate_server
from tests.bench.sides.over_http import NoWrk, http
from tests.bench.sides.services import stand_in, urls
from tests.postgres import Databases, a_server
from tests.processes import ROOT

SIDES = Path(__file__).with_name("sides")
OUTCOMES = ("completed", "compensated")

Measure = Callable[[int, str], FeedItem]


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is measured, and of which outcomes; `on_postgres` is what PostgreSQL works for."""

    name: str
    measure: Measure
    outcomes: tuple[str, ...] = OUTCOMES
    on_postgres: bool = True


class Absent(RuntimeError):
    """A side can't run here, or not with so many clients; the message says why."""


def program(command: list[str], url: str, seconds: float, **env: str) -> Measure:
    """Return how a side that is a program of its own is measured."""

    def measure(clients: int, outcome: str) -> FeedItem:
        given = ["--url", url, "--clients", str(clients), "--seconds", str(seconds), "--outcome", outcome]
        with subprocess.Popen(
            [*command, *given],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as side:
            try:
                out, errors = side.communicate(timeout=seconds * 5 + 60)
            except subprocess.TimeoutExpired:
                os.killpg(side.pid, signal.SIGKILL)  # with what it has started itself
                raise Absent("it didn't end in time") from None
        if side.returncode:
            raise Absent(errors.strip().splitlines()[-1] if errors else str(side.returncode))
        told: FeedItem = json.loads(out.splitlines()[-1])
        return told

    return measure


def served(
    app: str, env: dict[str, str], seconds: float, *, replicas: int = 1, services: bool = False
) -> Measure:
    """Return how a server is measured: so many of it, and with `services` beside the stand-in for those."""

    def measure(clients: int, outcome: str) -> FeedItem:
        if clients % replicas:
            raise Absent(f"not to be shared out evenly over {replicas}")
        try:
            with stand_in() if services else contextlib.nullcontext() as beside:
                called = {**env, **urls(beside)} if beside else env
                return http(app, called, clients=clients, seconds=seconds, outcome=outcome, replicas=replicas)
        except NoWrk as error:
            raise Absent(str(error.__doc__)) from None
        except (AssertionError, subprocess.SubprocessError) as error:
            raise Absent(str(error).partition("\n")[0]) from error

    return measure


def fetched(prepare: Callable[[], Measure]) -> Measure:
    """Return the measure of a side that is fetched when it is first asked for, and then never again."""

    @cache
    def prepared() -> Measure:
        try:
            return prepare()
        except NotFetched as error:
            return missing(str(error))

    def measure(clients: int, outcome: str) -> FeedItem:
        return prepared()(clients, outcome)

    return measure


def dbos(url: str, seconds: float) -> Measure:
    """Return how DBOS is measured; raise `NotFetched`."""
    return program([python_with("dbos", *DBOS), str(SIDES / "dbos_peer.py")], url, seconds)


def restate(seconds: float) -> Measure:
    """Return how Restate is measured; raise `NotFetched`."""
    server = restate_server()
    if server is None:
        raise NotFetched("Restate's server comes from npm, which isn't here.")
    command = [python_with("restate", *RESTATE), str(SIDES / "restate_peer.py")]
    return program(command, "its own", seconds, RESTATE_SERVER=server)


def missing(why: str) -> Measure:
    """Return the measure of a side that can't run here."""

    def absent(_clients: int, _outcome: str) -> FeedItem:
        raise Absent(why)

    return absent


def all_sides(databases: Databases, folder: Path, seconds: float) -> list[Side]:
    """Return every side, each with a database of its own."""
    ours, ours_http, called, shared, bare, peer = (
        databases.create(name, template=None)
        for name in ("ours", "ours_http", "called", "shared", "bare", "dbos")
    )
    sqlite = {name: f"sqlite:///{folder / name}.db" for name in ("saga", "service", "nothing")}
    for url in (ours, ours_http, called, shared, *sqlite.values()):
        upgrade(url)
    saga = [sys.executable, "-m", "tests.bench.sides.saga"]
    commits = [sys.executable, "-m", "tests.bench.sides.commits"]
    return [
        Side(name="saga, PostgreSQL", measure=program(saga, ours, seconds)),
        Side(
            name="DBOS 3.4, PostgreSQL",
            measure=fetched(partial(dbos, peer, seconds)),
        ),
        Side(
            name="Restate 1.7, its own store",
            measure=fetched(partial(restate, seconds)),
            on_postgres=False,
        ),
        Side(
            name="8 bare commits",
            measure=program(commits, bare, seconds, BENCH_COMMITS="8"),
            outcomes=("completed",),
        ),
        Side(
            name="4 bare commits",
            measure=program(commits, bare, seconds, BENCH_COMMITS="4"),
            outcomes=("completed",),
        ),
        Side(name="saga, SQLite FULL", measure=program(saga, sqlite["saga"], seconds), on_postgres=False),
        Side(
            name="service over HTTP, PostgreSQL",
            measure=served("app.main:app", {"DATABASE_URL": ours_http}, seconds),
        ),
        Side(
            name="service over HTTP, services over HTTP",
            measure=served("app.main:app", {"DATABASE_URL": called}, seconds, services=True),
        ),
        Side(
            name="2 replicas over HTTP, PostgreSQL",
            measure=served("app.main:app", {"DATABASE_URL": shared}, seconds, replicas=2),
        ),
        Side(
            name="a call over HTTP",
            measure=program([sys.executable, "-m", "tests.bench.sides.call"], "", seconds),
            outcomes=("completed",),
            on_postgres=False,
        ),
        Side(
            name="service over HTTP, SQLite FULL",
            measure=served("app.main:app", {"DATABASE_URL": sqlite["service"]}, seconds),
            on_postgres=False,
        ),
        Side(
            name="service over HTTP, no store",
            measure=served("tests.bench.sides.no_store:app", {"DATABASE_URL": sqlite["nothing"]}, seconds),
            outcomes=("completed",),
            on_postgres=False,
        ),
        Side(
            name="FastAPI, nothing done",
            measure=served("tests.bench.sides.no_op:app", {}, seconds),
            outcomes=("completed",),
            on_postgres=False,
        ),
    ]


def main() -> None:
    """Measure, print, and write the page where that is wanted."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--sides", default="", help="only those whose name holds this")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    console = Console(width=150)
    measured: Measured = {}
    absent: dict[Cell, str] = {}
    with a_server() as server, tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        sides = [
            side
            for side in all_sides(Databases(server=server), Path(folder), given.seconds)
            if given.sides in side.name
        ]
        runs = [
            (side, outcome, clients)
            for _ in range(given.rounds)
            for clients in given.clients
            for outcome in OUTCOMES
            for side in sides
            if outcome in side.outcomes
        ]
        task = progress.add_task("measuring", total=len(runs))
        for side, outcome, clients in runs:
            progress.update(task, description=f"{side.name}, {clients} clients, {outcome}")
            cell = (side.name, outcome, clients)
            if cell not in absent:
                try:
                    told = side.measure(clients, outcome)
                except Absent as error:
                    absent[cell] = str(error)
                    measured.pop(cell, None)
                else:
                    if not side.on_postgres:
                        told.pop("postgres", None)
                    measured.setdefault(cell, []).append(told)
            progress.advance(task)
        origin = server.origin
    machine = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {origin}, fsync on; medians of "
        f"{given.rounds} rounds of {given.seconds:g} s, the sides in turn"
    )
    console.print(table(measured))
    for one in left_out(absent):
        console.print(f"left out: {one}")
    console.print(machine)
    if given.write:
        command = f'make bench ARGS="{" ".join(sys.argv[1:])}"'
        (ROOT / "docs" / "benchmarks.md").write_text(page(measured, absent, machine, command))


if __name__ == "__main__":
    main()
