"""When to retry: exponential back-off with full jitter.

Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015) spreads retries evenly over
the whole pause, so that they don't all reach a recovering service at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Jitter = Callable[[], float]
"""Returns a number in [0, 1); `random.random` in production."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How one action is retried: its time-out, its attempts, and the pauses between them.

    All times are in seconds. `attempts` includes the first one. `max_retry_after` is the longest pause that a
    service can ask for when there is no deadline: while compensating, and after the pivot.
    """

    timeout: float = 5.0
    attempts: int = 4
    base: float = 0.1
    cap: float = 30.0
    max_retry_after: float = 3600.0

    def pause(
        self, attempt: int, *, jitter: Jitter, retry_after: float | None = None, limit: float | None = None
    ) -> float:
        """Return the seconds to wait after `attempt` (from 1) failed.

        A service's own `retry_after` is the shortest pause, but never longer than `limit` seconds, or
        `max_retry_after` without a limit: no service can park a saga for ever. A value that is no time is ignored.
        """
        ceiling = min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        pause = ceiling * jitter()
        # A step may be anybody's code: its value may be no number, or not finite.
        if isinstance(retry_after, int | float) and retry_after > 0:
            pause = max(pause, min(retry_after, self.max_retry_after if limit is None else limit))
        return pause
