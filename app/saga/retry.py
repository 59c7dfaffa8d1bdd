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

    All times are in seconds. `attempts` counts every send, the first included.
    """

    timeout: float = 5.0
    attempts: int = 4
    base: float = 0.1
    cap: float = 30.0

    def pause(self, attempt: int, *, jitter: Jitter, retry_after: float | None = None) -> float:
        """Return the seconds to wait after `attempt` (from 1) went wrong.

        A service's own `retry_after` is honoured as the least pause, clamped to `cap`, so that
        no service can park a saga for ever.
        """
        ceiling = min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        pause = ceiling * jitter()
        if retry_after is not None:
            pause = max(pause, min(max(retry_after, 0.0), self.cap))
        return pause
