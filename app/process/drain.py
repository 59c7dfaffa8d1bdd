"""The end of a process: sagas and requests that are under way get one span of time to finish."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from app.saga.engine.waiting import Closing


class Drain:
    """The end of a process: one span of time for the open requests and the sagas that run here together.

    `idle` returns when nothing runs here any more, at the latest after the seconds that it is given. Each of `quiesce`
    is called at the start, and returns at once. `draining` is set from the start on, `time_up` when the time is over.
    """

    def __init__(
        self,
        draining: asyncio.Event,
        seconds: float,
        *,
        idle: Callable[[float], Awaitable[None]],
        quiesce: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.draining = draining
        self.time_up = Closing()
        self._seconds = seconds
        self._idle = idle
        self._quiesce = quiesce
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self, on_idle: Callable[[], None] = lambda: None) -> None:
        """Take nothing new. A client that still waits at the end of the time gets the saga's status as it is then.

        `on_idle` is called once no client needs an answer any more: nothing runs here, or the time is over. A second
        start does nothing.
        """
        if self.draining.is_set():
            return
        loop = asyncio.get_running_loop()
        self._until = loop.time() + self._seconds
        self.draining.set()
        for quiesce in self._quiesce:
            quiesce()
        loop.call_later(self._seconds, self.time_up.set)
        self._task = loop.create_task(self._report_idle(on_idle))

    @property
    def seconds_left(self) -> float:
        """Of the time since the start; 0 before the start too."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    async def _report_idle(self, on_idle: Callable[[], None]) -> None:
        await self._idle(self._seconds)
        on_idle()
