"""When to try again: exponential back-off with full jitter.

Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015) spreads the
callers of a service that comes back evenly over the whole pause.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Jitter = Callable[[], float]
"""Returns a number in [0, 1); `random.random` in production."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How patient to be with one action: its time-out, its attempts and the pauses between.

    All times are in seconds. `attempts` counts every send, the first included. `max_retry_after` is the
    longest pause that a service can ask for where no deadline ends it: going back, and after the pivot.
    """

    timeout: float = 5.0
    attempts: int = 4
    base: float = 0.1
    cap: float = 30.0
    max_retry_after: float = 3600.0

    def pause(
        self, attempt: int, *, jitter: Jitter, retry_after: float | None = None, limit: float | None = None
    ) -> float:
        """Return the seconds to wait after `attempt` (from 1) went wrong.

        A service's own `retry_after` is honoured as the least pause, up to `limit` seconds, or else
        `max_retry_after`: no service can park a saga for ever. What is no time is ignored.
        """
        ceiling = min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        pause = ceiling * jitter()
        # A step is somebody else's code: what it names may be no number, or none that can be waited for.
        if isinstance(retry_after, int | float) and retry_after > 0:
            pause = max(pause, min(retry_after, self.max_retry_after if limit is None else limit))
        return pause
