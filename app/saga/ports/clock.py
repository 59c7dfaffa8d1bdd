"""Clocks, passed in, so that tests can set the time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The core's source of time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC. The trail has it."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back. Waits and leases use it."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


SLEW = 0.01
"""The largest correction of a clock, as a share of the time that has passed: an hour takes four days."""


def steadily(last: datetime, passed: float, shown: datetime) -> datetime:
    """Return the time `passed` seconds after `last`, corrected slowly towards `shown`, a clock that may have been set.

    Spans between such times are right to one percent, however far and whenever that clock was set.
    """
    by_count = last + timedelta(seconds=passed)
    off = (shown - by_count).total_seconds()
    return by_count + timedelta(seconds=max(-SLEW * passed, min(SLEW * passed, off)))


class SystemClock:
    """The machine's clock, corrected by the database's.

    Replicas agree on deadlines and back-offs only as far as their clocks agree. So each renewal of a replica's lease
    calls `set_right`, which keeps its clock in step with the database's.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._offset + time.monotonic(), UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def set_right(self, now: datetime) -> None:
        """Continue from `now`, the time that the database has just returned."""
        self._offset = now.timestamp() - time.monotonic()
