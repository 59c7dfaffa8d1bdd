"""What was measured, as a table on the terminal and as docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

FeedItem = dict[str, float]
Cell = tuple[str, str, int]
"""A side, an outcome, and how many clients."""

Measured = dict[Cell, list[FeedItem]]
"""The figures of each round."""

STARTED = "this service as started, PostgreSQL"
ONE_WORKER = "this service, 1 worker, PostgreSQL"
BEST = "this service, fastest settings, PostgreSQL"
STARTED_SQLITE = "this service as started, SQLite"
BEST_SQLITE = "this service, fastest settings, SQLite"
CALLING = "this service, services over HTTP (least)"
CALLING_REAL = "this service, services over HTTP (sandbox)"
DBOS_HTTP, DBOS_HTTP_2 = "DBOS 3.4, PostgreSQL", "DBOS 3.4, 2 workers, PostgreSQL"
RESTATE_HTTP = "Restate 1.7, its own store"
TEMPORAL_HTTP = "Temporal's development server, in memory"
BARE, PLAIN = "FastAPI, nothing done", "a plain application, PostgreSQL"
OVER_HTTP = (
    STARTED,
    ONE_WORKER,
    BEST,
    STARTED_SQLITE,
    BEST_SQLITE,
    CALLING,
    CALLING_REAL,
    DBOS_HTTP,
    DBOS_HTTP_2,
    RESTATE_HTTP,
    TEMPORAL_HTTP,
    BARE,
    PLAIN,
)

SAGA, SAGA_SQLITE = "the saga alone, PostgreSQL", "the saga alone, SQLite"
DBOS_INSIDE = "DBOS 3.4 alone, PostgreSQL"
EIGHT, FOUR, CALL = "8 bare commits", "4 bare commits", "a call over HTTP"
IN_PROCESS = (SAGA, SAGA_SQLITE, DBOS_INSIDE, EIGHT, FOUR, CALL)

COLUMNS = (
    "side",
    "outcome",
    "clients",
    "checkouts/s",
    "spread",
    "p50 ms",
    "p99 ms",
    "CPU µs",
    "PostgreSQL µs",
    "MiB",
    "ready s",
    "commits",
)

_PAGE = """# Benchmarks

Measured by `{command}`.
{machine}.

Everything shares the same cores: clients, server and PostgreSQL. A closed loop: each client waits for its answer before it sends the next order.
CPU is the side's own for a checkout, with all its processes; PostgreSQL's is beside it; both after a warm-up. MiB is the most memory that it had, `ready` the time from its start until `/readyz` answers 200, `commits` this service's transactions for a checkout.

## Over HTTP

Every side is a server in processes of its own, started as its users start it. wrk sends each the same orders over keep-alive connections.

{over_http}

## In process

A loop in the side's own process, without HTTP, without services. Compare these with each other only.

{in_process}

## Goals

A ratio is of figures from the same round. It is given as the rounds' median, with the lowest and the highest.

| goal | measured | reached |
|---|---|---|
{goals}

## The sides
- **this service as started**: `python -m app serve` with nothing set but `DATABASE_URL`: its number of workers, the access log, the sandbox as it comes. **1 worker** adds `--workers 1`. **fastest settings** turns the access log off, keeps the sandbox in memory and raises `CHECKOUT_MAX_IN_FLIGHT`.
- **services over HTTP**: as started, but the three services are called over HTTP. *least* is one process that answers by the contract at the least cost and stores nothing (`tests/bench/sides/services.py`); *sandbox* is the three services of the sandbox, a process each, with books on disk. CPU is the service's alone.
- **DBOS**: FastAPI in front, the workflow in the same process: three asynchronous steps that do nothing, the Idempotency-Key as the workflow's id, its system database on the same PostgreSQL server with the same `synchronous_commit`, uvicorn with uvloop and httptools; with one worker, and with two.
- **Restate**: a durable service of its Python SDK with `ctx.run` steps that do nothing, under hypercorn with the limits that Restate's documentation recommends, a worker for each core. One node with its documented defaults, which sync its log (`rocksdb-disable-wal-fsync = false`). Orders are placed at its own HTTP ingress under an idempotency key, so there is no FastAPI in front. CPU and memory are those of the server and all workers.
- **Temporal**: FastAPI in front, which starts a workflow of three activities that do nothing; the worker is in the same process. The server is Temporal's development server from PyPI, with its database in memory: nothing is synced to a disk. It isn't meant for production; a production server was not measured.
- **FastAPI, nothing done**: the framework's own POST of the same order, validated and answered with as much as a checkout's answer is, one worker.
- **a plain application**: FastAPI, and by hand a row for the order and for each of three steps that do nothing, in group commits by asyncpg; no recovery, no compensation, no idempotency key. One worker.
- **the saga alone**: the orchestrator and its log, three steps that do nothing; a compensated checkout reverses two. **DBOS alone**: the same workflow, without FastAPI. Both under uvloop.
- **bare commits**: a raw driver inserting one row a commit, as many a checkout as the name says, one connection a client; no saga.
- **a call over HTTP**: one call of the least services through the gateway, as a step makes it; a checkout in its row is a call. `python -m tests.bench.calls` shows it beside bare aiohttp.
{absent}"""


def table(measured: Measured) -> Table:
    """Return the medians as a table."""
    shown = Table(*COLUMNS)
    for row in _rows(measured):
        shown.add_row(*row)
    return shown


def page(measured: Measured, absent: Mapping[Cell, str], machine: str, command: str) -> str:
    """Return docs/benchmarks.md."""

    def rows(sides: Sequence[str]) -> str:
        lines = [
            " | ".join(COLUMNS),
            "|".join("---" for _ in COLUMNS),
            *(
                " | ".join(row)
                for row in _rows({cell: of for cell, of in measured.items() if cell[0] in sides})
            ),
        ]
        return "\n".join(f"| {line} |" for line in lines)

    goals = "\n".join(
        f"| {one.words} | {one.shown} | {'yes' if one.reached else 'no'} |" for one in goals_of(measured)
    )
    return _PAGE.format(
        command=command,
        machine=machine,
        over_http=rows(OVER_HTTP),
        in_process=rows(IN_PROCESS),
        goals=goals,
        absent="".join(f"\n**Left out here:** {one}\n" for one in left_out(absent)),
    )


def left_out(absent: Mapping[Cell, str]) -> list[str]:
    """Return what was left out and why, a sentence for each side and reason."""
    cells: dict[tuple[str, str], list[str]] = {}
    for (side, outcome, clients), why in sorted(absent.items()):
        cells.setdefault((side, why), []).append(f"{outcome} at {clients}")
    return [f"{side} ({', '.join(cut)}): {why}" for (side, why), cut in cells.items()]


def _rows(measured: Measured) -> list[list[str]]:
    rows = []
    for (side, outcome, clients), rounds in sorted(measured.items(), key=_place):
        rates = [one["rate"] for one in rounds]
        rows.append(
            [
                side,
                outcome,
                str(clients),
                f"{statistics.median(rates):,.0f}",
                f"{min(rates):,.0f}–{max(rates):,.0f}",
                f"{_median(rounds, 'p50'):,.1f}",
                f"{_median(rounds, 'p99'):,.1f}",
                f"{_median(rounds, 'cpu'):,.0f}",
                f"{_median(rounds, 'postgres'):,.0f}" if "postgres" in rounds[0] else "",
                f"{_median(rounds, 'memory'):,.0f}",
                f"{_median(rounds, 'ready'):,.1f}" if "ready" in rounds[0] else "",
                f"{_median(rounds, 'commits'):.2f}" if "commits" in rounds[0] else "",
            ]
        )
    return rows


def _place(cell: tuple[Cell, list[FeedItem]]) -> tuple[bool, int]:
    """Order rows by outcome, completed first, and clients; the sides within as they ran."""
    (_, outcome, clients), _ = cell
    return outcome != "completed", clients


def _median(rounds: list[FeedItem], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal, what was measured of it, and whether that reaches it."""

    words: str
    shown: str
    reached: bool


def goals_of(measured: Measured) -> list[Goal]:
    """Return the goals of which both figures were measured."""
    goals: list[Goal] = []

    def ratio(
        words: str,
        over: tuple[str, str],
        under: tuple[str, str],
        clients: int,
        *,
        least: float | None = None,
        most: float | None = None,
        outcome: str = "completed",
    ) -> None:
        above = measured.get((over[0], outcome, clients))
        below = measured.get((under[0], outcome, clients))
        if above is None or below is None or over[1] not in above[0] or under[1] not in below[0]:
            return
        each = [a[over[1]] / b[under[1]] for a, b in zip(above, below, strict=False)]
        middle = statistics.median(each)
        goals.append(
            Goal(
                words=f"{words}, {clients} clients",
                shown=f"{middle:.2f} ({min(each):.2f}–{max(each):.2f})",
                reached=middle >= least if least is not None else most is not None and middle <= most,
            )
        )

    for database, started, best in (
        ("PostgreSQL", STARTED, BEST),
        ("SQLite", STARTED_SQLITE, BEST_SQLITE),
    ):
        ratio(
            f"as started at least 0.85 of the fastest settings, {database}",
            (started, "rate"),
            (best, "rate"),
            64,
            least=0.85,
        )
        ratio(
            f"p99 at most 2 × p50, {database}",
            (started, "p99"),
            (started, "p50"),
            64,
            most=2,
        )
    ratio(
        "CPU time of 1 worker at most 2.5 × FastAPI's with nothing done",
        (ONE_WORKER, "cpu"),
        (BARE, "cpu"),
        64,
        most=2.5,
    )
    ratio("as started at least 1.5 × 1 worker", (STARTED, "rate"), (ONE_WORKER, "rate"), 64, least=1.5)
    for outcome in ("completed", "compensated"):
        for clients, times in ((16, 16.0), (64, 40.0)):
            ratio(
                f"{outcome}: at least {times:g} × DBOS",
                (STARTED, "rate"),
                (DBOS_HTTP, "rate"),
                clients,
                least=times,
                outcome=outcome,
            )
        ratio(
            f"{outcome}: at least 4 × Restate",
            (STARTED, "rate"),
            (RESTATE_HTTP, "rate"),
            64,
            least=4,
            outcome=outcome,
        )
    for words, side in (("least", CALLING), ("sandbox", CALLING_REAL)):
        ratio(
            f"services over HTTP ({words}) at least 0.85 of in process",
            (side, "rate"),
            (STARTED, "rate"),
            64,
            least=0.85,
        )
    ratio("the saga alone at least 1.2 × 8 bare commits", (SAGA, "rate"), (EIGHT, "rate"), 64, least=1.2)
    return goals
