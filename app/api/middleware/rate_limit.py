"""The rate limit: how many checkouts per second each caller may start in this process. A token bucket for each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from app.api.problems.problem import Problem


class RateLimit:
    """`per_second` checkouts for each caller, and as many at once; 0 is no limit."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> None:
        """Count a checkout. Raise a `rate_limited` problem, with Retry-After, if the caller is over its limit."""
        if not self._per_second:
            return
        now = self._clock()
        left, at = self._left.get(caller, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        if left < 1:
            seconds = math.ceil((1 - left) / self._per_second)
            raise Problem("rate_limited", headers={"Retry-After": str(seconds)})
        self._left[caller] = (left - 1, now)
