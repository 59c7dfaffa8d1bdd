"""When an event that wasn't taken is sent again: soon at first, then over days."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

SPREAD = 0.2
"""A pause is as long as it says, or up to this share of it longer, so that not all come back at once."""

LONGEST_RETRY_AFTER = 86_400.0


class RetrySchedule:
    """The pauses in seconds: the first after the first attempt, and so on; after the last one it is given up."""

    def __init__(self, seconds: tuple[float, ...], *, jitter: Callable[[], float] = random.random) -> None:
        self._seconds = seconds
        self._jitter = jitter

    def next_attempt(
        self, attempts: int, *, now: datetime, retry_after: float | None = None
    ) -> datetime | None:
        """Return when to try again after so many attempts; None where it is given up.

        A receiver that asks for a longer pause gets it, up to a day.
        """
        if attempts > len(self._seconds):
            return None
        pause = self._seconds[attempts - 1] * (1 + SPREAD * self._jitter())
        return now + timedelta(seconds=max(pause, min(retry_after or 0.0, LONGEST_RETRY_AFTER)))
