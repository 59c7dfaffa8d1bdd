"""The end of a process: sagas and requests that are under way get one span of time to finish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner


class Drain:
    """The end of a process: one span of time for the open requests and the sagas that run here together."""

    def __init__(
        self,
        begun: asyncio.Event,
        recovery: Recovery,
        runner: SagaRunner,
        seconds: float,
        at_once: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.begun = begun
        self.over = asyncio.Event()
        self._at_once = at_once
        self._recovery = recovery
        self._runner = runner
        self._seconds = seconds
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def begin(self, hang_up: Callable[[], None] = lambda: None) -> None:
        """Take nothing new. A client that still waits at the end of the time gets the saga's status as it is then.

        `hang_up` is called once no client needs an answer any more: nothing runs here, or the time is over.
        """
        if self.begun.is_set():
            return
        loop = asyncio.get_running_loop()
        self._until = loop.time() + self._seconds
        self._recovery.quiesce()
        self.begun.set()
        for quiesce in self._at_once:
            quiesce()
        loop.call_later(self._seconds, self.over.set)
        self._task = loop.create_task(self._hang_up_when_idle(hang_up))

    @property
    def left(self) -> float:
        """Seconds left."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    async def _hang_up_when_idle(self, hang_up: Callable[[], None]) -> None:
        await self._runner.idle(self._seconds)
        hang_up()
