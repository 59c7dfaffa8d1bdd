"""The time limits of all calls under way, kept by one timer of the event loop.

`asyncio.timeout` sets a timer for each call and removes it at the call's end, though hardly one ever goes off. Here the
loop has one timer, for the call that reaches its limit first; when it goes off, it is set for the next.
"""

from __future__ import annotations

import asyncio

_RESOLUTION = 0.001
"""A loop may count in milliseconds, and ring that much too early."""


class CallTimeout:
    """The time limit of one call, which a task makes."""

    __slots__ = ("at", "cancelling", "expired", "task")

    def __init__(self, task: asyncio.Task[object], at: float) -> None:
        self.task = task
        self.at = at
        self.cancelling = task.cancelling()
        self.expired = False


class CallTimeouts:
    """Cancels calls that reach their limit. Each belongs to the running task, which `start`s and `end`s its limit."""

    def __init__(self) -> None:
        self._limits: dict[CallTimeout, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = float("inf")

    def start(self, seconds: float) -> CallTimeout:
        """Cancel the running task's call after `seconds`, unless it ends before."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("A call is made by a task.")
        limit = CallTimeout(task, loop.time() + seconds)
        self._limits[limit] = None
        if limit.at < self._rings_at:
            self._set_timer(loop, limit.at)
        return limit

    def end(self, limit: CallTimeout) -> bool:
        """Remove the limit of a call that ended; return whether nothing but the limit cancelled it."""
        del self._limits[limit]
        return limit.expired and limit.task.uncancel() <= limit.cancelling

    def _set_timer(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = loop.call_at(at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._rings_at = None, float("inf")
        due, following = loop.time() + _RESOLUTION, float("inf")
        for limit in self._limits:
            if limit.expired:
                continue  # a step that ignores its cancellation is not cancelled again
            if limit.at <= due:
                limit.expired = True
                limit.task.cancel()
            elif limit.at < following:
                following = limit.at
        if self._limits and following < self._rings_at:
            self._set_timer(loop, following)
