"""What is measured beside what."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from app.storage.schema.migrations import upgrade
from tests.bench.measuring import Measure, fetched, least_services, program, sandbox_services, served
from tests.bench.page import (
    BARE,
    BEST,
    BEST_SQLITE,
    CALL,
    CALLING,
    CALLING_REAL,
    DBOS_HTTP,
    DBOS_HTTP_2,
    DBOS_INSIDE,
    EIGHT,
    FOUR,
    ONE_WORKER,
    PLAIN,
    RESTATE_HTTP,
    SAGA,
    SAGA_SQLITE,
    STARTED,
    STARTED_SQLITE,
    TEMPORAL_HTTP,
)
from tests.bench.peers import DBOS, RESTATE, TEMPORAL, NotFetched, python_with, restate_server
from tests.bench.sides.over_http import SIDES, Server, this_service
from tests.postgres import Databases

OUTCOMES = ("completed", "compensated")


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is measured, and of which outcomes; `on_postgres` is what PostgreSQL works for."""

    name: str
    measure: Measure
    outcomes: tuple[str, ...] = OUTCOMES
    on_postgres: bool = True


def dbos(url: str, seconds: float) -> Measure:
    """Return how DBOS is measured in process; raise `NotFetched`."""
    return program([python_with("dbos", *DBOS), str(SIDES / "dbos_peer.py")], url, seconds)


def dbos_over_http(url: str, seconds: float, workers: int) -> Measure:
    """Return how DBOS is measured over HTTP; raise `NotFetched`."""
    command = [
        python_with("dbos", *DBOS),
        str(SIDES / "dbos_over_http.py"),
        "--workers",
        str(workers),
    ]
    return served(Server(command=command, env={"DATABASE_URL": url}), seconds)


def restate_over_http(seconds: float) -> Measure:
    """Return how Restate is measured; raise `NotFetched`."""
    server = restate_server()
    if server is None:
        raise NotFetched("Restate's server comes from npm, which isn't here.")
    command = [python_with("restate", *RESTATE), str(SIDES / "restate_over_http.py")]
    return served(
        Server(
            command=command,
            env={"RESTATE_SERVER": server},
            ready="/checkout/ready",
            path="/checkout/place",
            refuses=False,
        ),
        seconds,
    )


def temporal_over_http(seconds: float) -> Measure:
    """Return how Temporal's development server is measured; raise `NotFetched`."""
    python = python_with("temporal", *TEMPORAL)
    server = str(Path(python).with_name("temporal"))
    command = [python, str(SIDES / "temporal_over_http.py")]
    return served(Server(command=command, env={"TEMPORAL_SERVER": server}), seconds)


def all_sides(databases: Databases, folder: Path, seconds: float) -> list[Side]:
    """Return every side, each with a database of its own."""

    def postgresql(name: str, *, ours: bool = True) -> str:
        url = databases.create(name, template=None)
        if ours:
            upgrade(url)
        return url

    def sqlite(name: str) -> str:
        url = f"sqlite:///{folder / name}.db"
        upgrade(url)
        return url

    best = {"CHECKOUT_ACCESS_LOG": "false", "SANDBOX_DATABASE": ":memory:", "CHECKOUT_MAX_IN_FLIGHT": "2048"}
    python, peer = sys.executable, postgresql("dbos", ours=False)
    saga, commits = [python, "-m", "tests.bench.sides.saga"], [python, "-m", "tests.bench.sides.commits"]
    bare = postgresql("bare", ours=False)

    def ours(name: str, server: Server, **more: Any) -> Side:
        on_postgres = server.env.get("DATABASE_URL", "").startswith("postgresql")
        services, outcomes = more.get("services"), more.get("outcomes", OUTCOMES)
        return Side(
            name=name,
            measure=served(server, seconds, services=services),
            outcomes=outcomes,
            on_postgres=on_postgres,
        )

    only = ("completed",)
    return [
        ours(STARTED, this_service(postgresql("started"))),
        ours(ONE_WORKER, this_service(postgresql("one_worker"), "--workers", "1")),
        ours(BEST, this_service(postgresql("best"), **best), outcomes=only),
        ours(STARTED_SQLITE, this_service(sqlite("started"))),
        ours(BEST_SQLITE, this_service(sqlite("best"), **best), outcomes=only),
        ours(CALLING, this_service(postgresql("calling")), services=least_services, outcomes=only),
        ours(
            CALLING_REAL, this_service(postgresql("calling_real")), services=sandbox_services, outcomes=only
        ),
        Side(name=DBOS_HTTP, measure=fetched(partial(dbos_over_http, peer, seconds, 1))),
        Side(name=DBOS_HTTP_2, measure=fetched(partial(dbos_over_http, peer, seconds, 2)), outcomes=only),
        Side(name=RESTATE_HTTP, measure=fetched(partial(restate_over_http, seconds)), on_postgres=False),
        Side(name=TEMPORAL_HTTP, measure=fetched(partial(temporal_over_http, seconds)), on_postgres=False),
        ours(BARE, Server(command=[python, str(SIDES / "no_op.py")]), outcomes=only),
        ours(
            PLAIN,
            Server(
                command=[python, str(SIDES / "plain.py")],
                env={"DATABASE_URL": postgresql("plain", ours=False)},
            ),
            outcomes=only,
        ),
        Side(name=SAGA, measure=program(saga, postgresql("saga"), seconds)),
        Side(name=DBOS_INSIDE, measure=fetched(partial(dbos, peer, seconds))),
        Side(name=SAGA_SQLITE, measure=program(saga, sqlite("saga"), seconds), on_postgres=False),
        Side(
            name=EIGHT,
            measure=program(commits, bare, seconds, BENCH_COMMITS="8"),
            outcomes=only,
        ),
        Side(
            name=FOUR,
            measure=program(commits, bare, seconds, BENCH_COMMITS="4"),
            outcomes=only,
        ),
        Side(
            name=CALL,
            measure=program([python, "-m", "tests.bench.sides.call"], "", seconds),
            outcomes=only,
            on_postgres=False,
        ),
    ]
