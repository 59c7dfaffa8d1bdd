"""A server under wrk: what it answered a second, and what that cost the server itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench.sides.clock import WARM_UP_SHARE, memory, processor_seconds
from tests.processes import a_checkout

SCRIPT = Path(__file__).with_name("order.lua")
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class NoWrk(RuntimeError):
    """wrk isn't here: install Debian's package wrk."""


def http(app: str, env: Mapping[str, str], *, clients: int, seconds: float, outcome: str) -> dict[str, float]:
    """Serve an app and measure it. Raise `NoWrk`, or `AssertionError` where it answers as it shouldn't."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NoWrk
    country = "XX" if outcome == "compensated" else "FR"
    with tempfile.TemporaryDirectory() as folder:
        settings = {"CHECKOUT_MAX_IN_FLIGHT": "2048", "CHECKOUT_ACCESS_LOG": "false", **env}
        settings.setdefault("SANDBOX_DATABASE", ":memory:")
        with a_checkout(settings, Path(folder) / "log", app=app) as server:
            command = [wrk, "--threads", "1", "--connections", str(clients), "--latency", "-s", str(SCRIPT)]
            environment = {**os.environ, "BENCH_COUNTRY": country}

            def run(duration: float) -> str:
                told = subprocess.run(
                    [*command, "--duration", f"{max(1, round(duration))}s", server.url],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                    timeout=duration * 3 + 60,
                )
                return told.stdout

            run(seconds * WARM_UP_SHARE)
            before = processor_seconds(server.process.pid)
            told = run(seconds)
            spent = processor_seconds(server.process.pid) - before
            most = memory(server.process.pid)
    requests = int(_found(r"(\d+) requests in", told))
    refused = int(_found(r"Non-2xx or 3xx responses: (\d+)", told, otherwise="0"))
    expected = requests if outcome == "compensated" and app == "app.main:app" else 0
    assert refused == expected, told
    return {
        "rate": float(_found(r"Requests/sec:\s+([\d.]+)", told)),
        "p50": _milliseconds(_found(r"50%\s+([\d.]+\w+)", told)),
        "p99": _milliseconds(_found(r"99%\s+([\d.]+\w+)", told)),
        "cpu": spent / requests * 1e6,
        "memory": most,
        "checkouts": requests,
    }


def _found(pattern: str, text: str, otherwise: str | None = None) -> str:
    match = re.search(pattern, text)
    if match is None and otherwise is not None:
        return otherwise
    assert match is not None, text
    return match[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]
