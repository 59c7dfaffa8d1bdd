"""Clients in a closed loop, and what they saw. The standard library alone: a peer's environment has no more."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

WARM_UP_SHARE = 0.2
"""Of the seconds asked for, before anything counts."""


def asked(*options: str) -> argparse.Namespace:
    """Return what a side is asked for; `options` are those that only this one knows, to be said or not."""
    parser = argparse.ArgumentParser()
    for option in options:
        parser.add_argument(option, action="store_true")
    parser.add_argument("--url", required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--outcome", choices=["completed", "compensated"], default="completed")
    return parser.parse_args()


async def tell(
    clients: int,
    seconds: float,
    work: Callable[[], Awaitable[None]],
    *,
    commits: Callable[[], int] | None = None,
    processes: Sequence[int | str] = ("self",),
) -> None:
    """Have so many clients do the work again and again, and print what that gave.

    `commits` counts them so far; `processes` are those that do the work.
    """

    def spent() -> float:
        return sum(map(processor_seconds, processes))

    warm_up, _ = await _closed_loop(clients, seconds * WARM_UP_SHARE, work)
    before, databases, committed = spent(), postgres_seconds(), commits() if commits else 0
    took, elapsed = await _closed_loop(clients, seconds, work)
    used, databases = spent() - before, postgres_seconds() - databases
    took.sort()
    told = {
        "rate": len(took) / elapsed,
        "p50": statistics.median(took) * 1000,
        "p99": took[min(len(took) - 1, int(len(took) * 0.99))] * 1000,
        "cpu": used / len(took) * 1e6,
        "postgres": databases / len(took) * 1e6,
        "memory": sum(map(memory, processes)),
        "checkouts": len(took),
        "warm_up": len(warm_up),
    }
    if commits is not None:
        told["commits"] = (commits() - committed) / len(took)
    sys.stdout.write(json.dumps(told) + "\n")


async def _closed_loop(
    clients: int, seconds: float, work: Callable[[], Awaitable[None]]
) -> tuple[list[float], float]:
    took: list[float] = []
    began = time.perf_counter()
    end = began + seconds

    async def client() -> None:
        while (start := time.perf_counter()) < end:
            await work()
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(client() for _ in range(clients)))
    return took, time.perf_counter() - began


def memory(process: int | str) -> float:
    """Return how much memory a process has had at its most, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def processor_seconds(process: int | str) -> float:
    """Return what a process has used, with the children that it has waited for."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def postgres_seconds() -> float:
    """Return what all of PostgreSQL's processes have used so far, those that have ended too."""
    spent = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == "postgres":
                spent += processor_seconds(process.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return spent
