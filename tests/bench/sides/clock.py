"""Clients in a closed loop, and what they saw. The standard library alone: a peer's environment has no more."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

WARM_UP_SHARE = 0.2
"""Of the seconds asked for, before anything counts."""


def asked() -> argparse.Namespace:
    """Return what a side is asked for."""
    parser = argparse.ArgumentParser()
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
) -> None:
    """Have so many clients do the work again and again, and print what that gave; `commits` counts them so far."""
    warm_up, _ = await _closed_loop(clients, seconds * WARM_UP_SHARE, work)
    before, committed = _processor_seconds(), commits() if commits else 0
    took, elapsed = await _closed_loop(clients, seconds, work)
    spent = _processor_seconds() - before
    took.sort()
    told = {
        "rate": len(took) / elapsed,
        "p50": statistics.median(took) * 1000,
        "p99": took[min(len(took) - 1, int(len(took) * 0.99))] * 1000,
        "cpu": spent / len(took) * 1e6,
        "memory": memory("self"),
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


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
