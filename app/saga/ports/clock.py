"""Time, passed in, so that tests decide what it is."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where the core gets its time from."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC; it goes into the trail."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back; waiting and leases use it."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


SLEW = 0.01
"""By how much of the time that has passed a clock is set right at most: an hour takes four days."""


def steadily(last: datetime, passed: float, shown: datetime) -> datetime:
    """Return the time `passed` seconds after `last`, drawn towards what a clock shows that somebody may have set.

    Spans between such times are right to a hundredth, however far and whenever that clock was set.
    """
    by_count = last + timedelta(seconds=passed)
    off = (shown - by_count).total_seconds()
    return by_count + timedelta(seconds=max(-SLEW * passed, min(SLEW * passed, off)))


class SystemClock:
    """The machine's clock, set right by whoever knows better.

    Replicas agree on deadlines and back-offs only as far as their clocks do, so each keeps its
    own in step with the database's: every renewal of its lease calls `set_right`.
    """

    def __init__(self) -> None:
        self._anchor = datetime.now(UTC)
        self._anchored_at = time.monotonic()

    def now(self) -> datetime:
        return self._anchor + timedelta(seconds=time.monotonic() - self._anchored_at)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def set_right(self, now: datetime) -> None:
        """Go on from `now`, the time that the database told just now."""
        self._anchor = now
        self._anchored_at = time.monotonic()
