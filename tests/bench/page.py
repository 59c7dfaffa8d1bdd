"""What was measured, as a table on the terminal and as docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

FeedItem = dict[str, float]
Cell = tuple[str, str, int]
"""A side, an outcome, and how many clients."""

Measured = dict[Cell, list[FeedItem]]
"""The figures of each round."""

SAGA, SQLITE, DBOS = "saga, PostgreSQL", "saga, SQLite FULL", "DBOS 3.4, PostgreSQL"
RESTATE = "Restate 1.7, its own store"
EIGHT, SERVICE, NO_STORE = "8 bare commits", "service over HTTP, PostgreSQL", "service over HTTP, no store"
CALLING, CALL = "service over HTTP, services over HTTP", "a call over HTTP"
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
    "commits",
)

_PAGE = """# Benchmarks

Measured by `{command}`.
{machine}.

{table}

CPU is the side's own for a checkout, PostgreSQL's beside it, both after a warm-up; `commits` are this service's transactions for a checkout.

## What was asked for, and what was reached

| asked for | measured | reached |
|---|---|---|
{goals}

## The sides
- **saga**: this service's orchestrator and log, three steps in process that do nothing; a compensated checkout reverses two. Its process uses uvloop and the garbage collector settings of the service; so does that of the bare commits.
- **DBOS**: the same as a durable workflow with asynchronous steps, the workflow's id as idempotency key, its system database on the same PostgreSQL server with the same `synchronous_commit`; under uvloop too, which makes no difference to it; in a separate environment under `.bench/`.
- **Restate**: the same as a durable service of its Python SDK with `ctx.run` steps, one node with its documented defaults, which sync its log (`rocksdb-disable-wal-fsync = false`), in its own store (only its telemetry, its Unix sockets and its logs below errors are off). The service runs under hypercorn with the limits Restate's documentation recommends, a worker for each core. It is called over its HTTP ingress under an idempotency key, because it has no other way; compare it with the service over HTTP too. Its CPU and memory are those of its server and all its workers, without the client.
- **bare commits**: a raw driver inserting one row a commit, as many a checkout as the name says, one connection a client; no saga.
- **service over HTTP**: one uvicorn process with the sandbox's services in process, called by wrk over as many connections as there are clients, each order a new one. wrk waits for each answer before its next request (a closed loop).
- **services over HTTP**: the same, but the three services are called over HTTP in another process. That is a stand-in that answers by the contract, at the least cost, and stores nothing (`tests/bench/sides/services.py`): the sandbox's three would take more than half as much processor time as the service, on the same cores. CPU is the service's alone.
- **2 replicas**: two such processes on one database, each called by its own wrk with half of the clients. Rate, CPU and memory are their sums, p50 and p99 those of the slower one.
- **a call over HTTP**: one call of that stand-in through the gateway, as a step makes it; a checkout here is a call. `python -m tests.bench.calls` shows it beside bare aiohttp.
- **no store**: the same service, whose journal writes nothing and answers at once; everything else is unchanged.
- **FastAPI, nothing done**: the framework's own POST of the same order, validated by the same model and answered with its id.

Everything shares the same cores: clients, server and PostgreSQL.
{absent}"""


def table(measured: Measured) -> Table:
    """Return the medians as a table."""
    shown = Table(*COLUMNS)
    for row in _rows(measured):
        shown.add_row(*row)
    return shown


def page(measured: Measured, absent: Mapping[Cell, str], machine: str, command: str) -> str:
    """Return docs/benchmarks.md."""
    lines = [
        " | ".join(COLUMNS),
        "|".join("---" for _ in COLUMNS),
        *(" | ".join(row) for row in _rows(measured)),
    ]
    goals = "\n".join(
        f"| {one.words} | {one.shown} | {'yes' if one.reached else 'no'} |" for one in goals_of(measured)
    )
    return _PAGE.format(
        command=command,
        machine=machine,
        table="\n".join(f"| {line} |" for line in lines),
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
    for (side, outcome, clients), rounds in sorted(measured.items(), key=lambda one: (one[0][1], one[0][2])):
        rates = [one["rate"] for one in rounds]
        postgres = f"{_median(rounds, 'postgres'):,.0f}" if "postgres" in rounds[0] else ""
        commits = f"{_median(rounds, 'commits'):.2f}" if "commits" in rounds[0] else ""
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
                postgres,
                f"{_median(rounds, 'memory'):,.0f}",
                commits,
            ]
        )
    return rows


def _median(rounds: list[FeedItem], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One thing that was asked for."""

    words: str
    shown: str
    reached: bool


def goals_of(measured: Measured) -> list[Goal]:
    """Return what was asked for, of what was measured."""
    goals: list[Goal] = []

    def told(side: str, clients: int, name: str = "rate", outcome: str = "completed") -> float | None:
        rounds = measured.get((side, outcome, clients))
        return None if rounds is None or name not in rounds[0] else _median(rounds, name)

    def at_least(words: str, ours: float | None, theirs: float | None, times: float) -> None:
        if ours is not None and theirs is not None:
            goals.append(Goal(words=words, shown=f"{ours / theirs:.2f}×", reached=ours >= times * theirs))

    def at_most(words: str, ours: float | None, most: float | None, unit: str = "") -> None:
        if ours is not None and most is not None:
            goals.append(Goal(words=words, shown=f"{ours:,.2f}{unit}", reached=ours <= most))

    for outcome in ("completed", "compensated"):
        for clients, times in ((16, 12), (64, 30)):
            words = f"{outcome}, {clients} clients: at least {times}× DBOS"
            at_least(words, told(SAGA, clients, outcome=outcome), told(DBOS, clients, outcome=outcome), times)
        at_least(
            f"{outcome}, 64 clients: at least 5× Restate",
            told(SAGA, 64, outcome=outcome),
            told(RESTATE, 64, outcome=outcome),
            5,
        )
    for clients in (1, 16, 64):
        ours, theirs = told(SAGA, clients, "p50"), told(DBOS, clients, "p50")
        at_most(f"p50 at {clients} clients at most an eighth of DBOS's", ours, theirs and theirs / 8, " ms")
        ours, most = told(SAGA, clients, "p99"), told(SAGA, clients, "p50")
        at_most(f"p99 at {clients} clients at most 4× p50", ours, most and most * 4, " ms")
    at_least("at least 0.8 of 8 bare commits at 16 clients", told(SAGA, 16), told(EIGHT, 16), 0.8)
    at_least("at least 1.2 of 8 bare commits at 64 clients", told(SAGA, 64), told(EIGHT, 64), 1.2)
    at_most("at most 4 commits a completed checkout at 1 client", told(SAGA, 1, "commits"), 4)
    at_most("at most 6 a compensated one", told(SAGA, 1, "commits", "compensated"), 6)
    at_most("fewer than 1 commit a checkout at 64 clients", told(SAGA, 64, "commits"), 1)
    at_least(
        "at least half of the same app without a store at 64 clients",
        told(SERVICE, 64),
        told(NO_STORE, 64),
        0.5,
    )
    at_least(
        "services over HTTP: at least 0.4 of in process at 64 clients",
        told(CALLING, 64),
        told(SERVICE, 64),
        0.4,
    )
    at_most("client CPU at most 250 µs a call at 64 in flight", told(CALL, 64, "cpu"), 250, " µs")
    at_most("at most 600 µs of CPU a checkout in the service", told(SERVICE, 64, "cpu"), 600, " µs")
    at_most("at most 300 µs of PostgreSQL's CPU a checkout", told(SERVICE, 64, "postgres"), 300, " µs")
    compensated = told(SAGA, 64, outcome="compensated")
    ours = told(SAGA, 64)
    if ours is not None and compensated:
        at_most("a compensated checkout costs at most 1.7× a completed one", ours / compensated, 1.7, "×")
    at_least("SQLite at FULL: at least 60 % of PostgreSQL", told(SQLITE, 64), ours, 0.6)
    return goals
