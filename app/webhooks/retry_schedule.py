"""When a failed delivery is retried: soon at first, then over days."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

SPREAD = 0.2
"""A delay may be longer by up to this share of it, so that retries spread out."""

MAX_RETRY_AFTER = 86_400.0
"""Seconds of a Retry-After that are honoured."""


class RetrySchedule:
    """The delays in seconds before each retry. After the last one a delivery has failed."""

    def __init__(self, seconds: tuple[float, ...], *, jitter: Callable[[], float] = random.random) -> None:
        self._seconds = seconds
        self._jitter = jitter

    def next_attempt(
        self, attempts: int, *, now: datetime, retry_after: float | None = None
    ) -> datetime | None:
        """Return when to retry after so many attempts; None after the last one.

        A longer Retry-After is honoured, up to a day.
        """
        if attempts > len(self._seconds):
            return None
        delay = self._seconds[attempts - 1] * (1 + SPREAD * self._jitter())
        return now + timedelta(seconds=max(delay, min(retry_after or 0.0, MAX_RETRY_AFTER)))
