"""A server under wrk, started as its users start it: what it answered a second, and what that cost it.

wrk waits for each answer before its next request (a closed loop), over as many connections as there are clients.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.peers import wrk
from tests.bench.sides.clock import WARM_UP_SHARE, memory, postgres_seconds, processor_seconds
from tests.processes import free_port, running

SIDES = Path(__file__).parent
SCRIPT = SIDES / "order.lua"
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class NoWrk(RuntimeError):
    """wrk isn't here, and can't be had from Debian: install it."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """How a server is started, and where orders are placed with it."""

    command: Sequence[str]
    """Without its port, which is added as `--port`."""
    env: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/readyz"
    path: str = "/checkout"
    refuses: bool = True
    """Whether it answers a compensated checkout with 4xx."""


def this_service(database_url: str, *options: str, **env: str) -> Server:
    """Return this service with nothing set but its database, what `options` say, and `env`."""
    return Server(
        command=[sys.executable, "-m", "app", "serve", *options], env={"DATABASE_URL": database_url, **env}
    )


def http(server: Server, *, clients: int, seconds: float, outcome: str) -> dict[str, float]:
    """Serve and measure; raise `NoWrk`, or `AssertionError` where it answers as it shouldn't.

    Processor time and memory are those of the whole family of processes; `ready` is the seconds from its start until
    it first answered that it is ready.
    """
    generator = wrk()
    if generator is None:
        raise NoWrk
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        began = time.perf_counter()
        with running(
            [*server.command, "--port", str(port)],
            port=port,
            env={"TMPDIR": folder, **server.env},
            log=Path(folder) / "log",
            ready=server.ready,
            fresh=True,
        ) as started:
            ready = time.perf_counter() - began

            def run(duration: float) -> Load:
                return load_under(
                    generator,
                    started.url,
                    clients=clients,
                    seconds=duration,
                    outcome=outcome,
                    path=server.path,
                )

            def spent() -> float:
                return sum(map(processor_seconds, family(started.process.pid)))

            warm_up = run(seconds * WARM_UP_SHARE)
            before, databases = spent(), postgres_seconds()
            load = run(seconds)
            used, databases = spent() - before, postgres_seconds() - databases
            most = sum(map(memory, family(started.process.pid)))
    assert load.requests, "nothing was answered in time"
    expected = load.requests if outcome == "compensated" and server.refuses else 0
    assert load.refused == expected, f"{load.refused} of {load.requests} were refused, not {expected}"
    return {
        "rate": load.rate,
        "p50": load.p50,
        "p99": load.p99,
        "cpu": used / load.requests * 1e6,
        "postgres": databases / load.requests * 1e6,
        "memory": most,
        "ready": ready,
        "checkouts": load.requests,
        "warm_up": warm_up.requests,
    }


def family(pid: int) -> list[int]:
    """Return a process and all below it: workers, and what a server runs beside itself."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            told = children.read_text()
        except (FileNotFoundError, ProcessLookupError):  # a thread may end at any time
            continue
        for child in told.split():
            found += family(int(child))
    return found


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one wrk did and saw."""

    requests: int
    refused: int
    rate: float
    p50: float
    p99: float


def load_under(
    generator: list[str], url: str, *, clients: int, seconds: float, outcome: str, path: str = "/checkout"
) -> Load:
    """Have wrk place new orders."""
    command = [
        *generator,
        "--threads",
        "1",
        "--connections",
        str(clients),
        "--latency",
        "--timeout",
        "30s",
        "-s",
        str(SCRIPT),
    ]
    country = "XX" if outcome == "compensated" else "FR"
    told = subprocess.run(
        [*command, "--duration", f"{max(1, round(seconds))}s", url],
        env={
            **os.environ,
            "BENCH_COUNTRY": country,
            "BENCH_PATH": path,
            "BENCH_RUN": secrets.token_hex(8),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds * 3 + 60,
    ).stdout
    return load_of(told)


def load_of(told: str) -> Load:
    """Return what wrk printed."""
    return Load(
        requests=int(_found(r"(\d+) requests in", told)),
        refused=int(_found(r"Non-2xx or 3xx responses: (\d+)", told, otherwise="0")),
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", told)),
        p50=_milliseconds(_found(r"50%\s+([\d.]+\w+)", told)),
        p99=_milliseconds(_found(r"99%\s+([\d.]+\w+)", told)),
    )


def _found(pattern: str, text: str, otherwise: str | None = None) -> str:
    match = re.search(pattern, text)
    if match is None and otherwise is not None:
        return otherwise
    assert match is not None, text
    return match[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]
