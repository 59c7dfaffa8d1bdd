"""A loop that takes turns until it is told to finish. No error in a turn ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.saga.background.outage_reporter import OutageReporter
from app.saga.model.errors import LogUnavailable

Sleep = Callable[[float], Awaitable[None]]


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


class BackgroundLoop:
    """Calls `turn`, which returns how many seconds to pause before the next one; 0 for none.

    If a turn raises, that is reported to `outage`, with a traceback unless the error is one of `expected`, and the
    next turn comes after `retry_seconds`. The first turn comes after `first_pause` seconds. A turn that raises
    nothing ends an outage, unless `conclusive` says that it proved nothing. `sleep` can be replaced in tests.
    """

    def __init__(
        self,
        turn: Callable[[], Awaitable[float]],
        outage: OutageReporter,
        *,
        retry_seconds: float,
        first_pause: float = 0.0,
        expected: type[Exception] = LogUnavailable,
        conclusive: Callable[[], bool] = lambda: True,
        sleep: Sleep = _sleep,
    ) -> None:
        self._turn = turn
        self._outage = outage
        self._retry_seconds = retry_seconds
        self._first_pause = first_pause
        self._expected = expected
        self._conclusive = conclusive
        self._sleep = sleep
        self._finishing = False
        self._woken = False
        self._pausing: asyncio.Timeout | None = None

    def wake(self) -> None:
        """End the pause now; during a turn, skip the next one."""
        self._woken = True
        if self._pausing is not None and not self._pausing.expired():
            self._pausing.reschedule(asyncio.get_running_loop().time())

    def finish(self) -> None:
        """Start no further turn. A turn under way is completed; a pause ends now."""
        self._finishing = True
        self.wake()

    async def run(self) -> None:
        """Run until told to finish."""
        await self.pause(self._first_pause)
        while not self._finishing:
            try:
                pause = await self._turn()
            except Exception as error:  # noqa: BLE001 (a loop that ended would never do its work again)
                self._outage.failed(error, expected=isinstance(error, self._expected))
                pause = self._retry_seconds
            else:
                if self._conclusive():
                    self._outage.recovered()
            await self.pause(pause)

    async def pause(self, seconds: float) -> None:
        """Pause for `seconds`, or until woken or told to finish. A turn may call it too."""
        if seconds > 0.0 and not self._woken and not self._finishing:
            try:
                async with asyncio.timeout(None) as self._pausing:
                    await self._sleep(seconds)
            except TimeoutError:
                pass  # woken
            finally:
                self._pausing = None
        self._woken = False
