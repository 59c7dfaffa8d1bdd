"""A server under wrk: what it answered a second, and what that cost the server itself."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.peers import wrk
from tests.bench.sides.clock import WARM_UP_SHARE, memory, postgres_seconds, processor_seconds
from tests.processes import a_checkout, together

SCRIPT = Path(__file__).with_name("order.lua")
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class NoWrk(RuntimeError):
    """wrk isn't here, and can't be had from Debian: install it."""


def http(
    app: str, env: Mapping[str, str], *, clients: int, seconds: float, outcome: str, replicas: int = 1
) -> dict[str, float]:
    """Serve an app and measure it; raise `NoWrk`, or `AssertionError` where it answers as it shouldn't.

    Several replicas share the clients, one wrk for each. Rates, processor time and memory are their sums,
    p50 and p99 those of the slower one.
    """
    generator = wrk()
    if generator is None:
        raise NoWrk
    settings = {
        "CHECKOUT_MAX_IN_FLIGHT": "2048",
        "CHECKOUT_ACCESS_LOG": "false",
        "SANDBOX_DATABASE": ":memory:",
        **env,
    }
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / f"{number}.log" for number in range(replicas)]
        with together(*(a_checkout(settings, log, app=app) for log in logs)) as servers:

            def run(duration: float) -> list[Load]:
                ask = partial(
                    load_under, generator, clients=clients // replicas, seconds=duration, outcome=outcome
                )
                with ThreadPoolExecutor(replicas) as pool:
                    return list(pool.map(ask, (server.url for server in servers)))

            def spent() -> float:
                return sum(processor_seconds(server.process.pid) for server in servers)

            warm_up = run(seconds * WARM_UP_SHARE)
            before, databases = spent(), postgres_seconds()
            loads = run(seconds)
            used, databases = spent() - before, postgres_seconds() - databases
            most = sum(memory(server.process.pid) for server in servers)
    requests = sum(load.requests for load in loads)
    assert requests, "nothing was answered in time"
    refused = sum(load.refused for load in loads)
    expected = requests if outcome == "compensated" and app == "app.main:app" else 0
    assert refused == expected, f"{refused} of {requests} were refused, not {expected}"
    return {
        "rate": sum(load.rate for load in loads),
        "p50": max(load.p50 for load in loads),
        "p99": max(load.p99 for load in loads),
        "cpu": used / requests * 1e6,
        "postgres": databases / requests * 1e6,
        "memory": most,
        "checkouts": requests,
        "warm_up": sum(load.requests for load in warm_up),
    }


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one wrk did and saw."""

    requests: int
    refused: int
    rate: float
    p50: float
    p99: float


def load_under(generator: list[str], url: str, *, clients: int, seconds: float, outcome: str) -> Load:
    """Have wrk ask for checkouts of new orders."""
    command = [*generator, "--threads", "1", "--connections", str(clients), "--latency", "-s", str(SCRIPT)]
    country = "XX" if outcome == "compensated" else "FR"
    told = subprocess.run(
        [*command, "--duration", f"{max(1, round(seconds))}s", url],
        env={**os.environ, "BENCH_COUNTRY": country, "BENCH_RUN": secrets.token_hex(8)},
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
