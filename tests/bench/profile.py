"""Where a checkout's processor time goes: the service under wrk, looked at by py-spy, told by layer.

    python -m tests.bench.profile --clients 64 --seconds 20

py-spy stops the process for each look, so the whole costs more than without; the shares are what counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.storage.schema.migrations import upgrade
from tests.bench.peers import py_spy, wrk
from tests.bench.sides.clock import processor_seconds
from tests.bench.sides.over_http import NoWrk, load_under
from tests.postgres import Databases, a_server
from tests.processes import a_checkout

LOOKS_A_SECOND = 500
LAYERS = (
    ("the sandbox's three services", ("app/sandbox",)),
    ("the steps: what is asked of a service, and its answer checked", ("app/services", "app/gateway")),
    ("logs, metrics, traces", ("app/telemetry", "structlog", "logging/", "prometheus_client")),
    ("the saga log: journal and driver", ("app/storage", "asyncpg")),
    ("the saga core: decide, act, append", ("app/saga",)),
    (
        "the API: the order read and checked, the answer made",
        ("app/api", "app/checkout", "app/operations", "app/access", "app/values"),
    ),
    ("FastAPI and Starlette", ("fastapi", "starlette")),
    ("uvicorn and the event loop", ("uvicorn",)),
)
"""A look belongs to the layer of its innermost frame that has one; what has none, to its caller's."""

WAITING = "(threading.py"
"""The innermost frame of a thread that waits, as the log's does: on some kernels py-spy takes it for busy."""


def layer_of(stack: str) -> str:
    """Return the layer of a stack as py-spy writes it: frames from the outermost, with semicolons between."""
    for frame in reversed(stack.split(";")):
        for name, paths in LAYERS:
            if any(path in frame for path in paths):
                return name
    return LAYERS[-1][0]


def shares(folded: Iterable[str]) -> dict[str, float]:
    """Return each layer's share of the looks, the largest first."""
    looks: Counter[str] = Counter()
    for line in folded:
        stack, _, count = line.rpartition(" ")
        if WAITING in stack.rpartition(";")[2]:
            continue
        looks[layer_of(stack)] += int(count)
    return {name: count / looks.total() for name, count in looks.most_common()}


def profiled(
    url: str, folder: Path, *, clients: int, seconds: int, outcome: str
) -> tuple[dict[str, float], float]:
    """Return the layers' shares, and the processor time of a checkout in microseconds, measured without py-spy."""
    generator = wrk()
    if generator is None:
        raise NoWrk
    env = {
        "DATABASE_URL": url,
        "CHECKOUT_MAX_IN_FLIGHT": "2048",
        "CHECKOUT_ACCESS_LOG": "false",
        "SANDBOX_DATABASE": ":memory:",
    }
    looks = folder / f"{outcome}.txt"
    with a_checkout(env, folder / f"{outcome}.log") as server:
        pid = server.process.pid

        def load() -> int:
            return load_under(
                generator, server.url, clients=clients, seconds=seconds, outcome=outcome
            ).requests

        load()  # to warm up
        before = processor_seconds(pid)
        requests = load()
        cost = (processor_seconds(pid) - before) / requests * 1e6
        record = [py_spy(), "record", "--pid", str(pid), "--rate", str(LOOKS_A_SECOND)]
        record += ["--duration", str(seconds), "--format", "raw", "--output", str(looks)]
        with subprocess.Popen(record, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            load()
    return shares(looks.read_text().splitlines()), cost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=15)
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    table = Table("layer", "completed µs", "share", "compensated µs", "share")
    with a_server() as server, tempfile.TemporaryDirectory() as folder:
        url = Databases(server=server).create("profile", template=None)
        upgrade(url)
        found = {
            outcome: profiled(
                url, Path(folder), clients=given.clients, seconds=given.seconds, outcome=outcome
            )
            for outcome in ("completed", "compensated")
        }
    for name in [*found["completed"][0], ""]:
        row = [name or "together"]
        for told, cost in found.values():
            share = told.get(name, 0.0) if name else 1.0
            row += [f"{share * cost:,.0f}", f"{share:.0%}"]
        table.add_row(*row)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
