"""Starting and stopping components that work in the background: the same for all of them.

              start()               quiesce()                          stop(grace)
    stopped ──────────▶ running ───────────────▶ takes no new work ──────────────────▶ stopped
       ▲                                          finishes what it      after `grace` seconds
       └───── stop(), at any time                 is doing              it is cancelled

(Modelled on `startstop` of riverqueue/river.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Self

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.tasks import end_tasks, uninterrupted

_logger = logging.getLogger(__name__)


class Lifecycle:
    """Base of every component with background tasks. Nothing runs before `start` or after `stop`.

    `start` and `stop` may be called in any order, repeatedly and concurrently. They take effect one after another;
    a call that has nothing to do returns. A stopped component can be started again.
    """

    def __init__(self) -> None:
        self._calls = asyncio.Lock()
        self._is_running = False
        self._quiescing = False
        self._hurried = False
        self._grace: asyncio.Timeout | None = None
        self._background: dict[asyncio.Task[None], None] = {}  # in their order, which a set does not keep
        self._loops: list[BackgroundLoop] = []
        self._releases: list[Callable[[], None]] = []

    @property
    def quiescing(self) -> bool:
        """Whether it takes no new work: since `quiesce` or `stop`, until the next `start`."""
        return self._quiescing

    async def start(self) -> None:
        """Start working. If this raises or is cancelled, nothing is left running, and it can be tried again."""
        async with self._calls:
            if self._is_running:
                return
            self._is_running, self._quiescing, self._hurried = True, False, False
            try:
                await self._on_start()
            except BaseException:
                await uninterrupted(self._end(0.0))
                raise

    def quiesce(self) -> None:
        """Take no new work; what is under way continues. Returns at once."""
        if not self._quiescing:
            self._quiescing = True
            for loop in self._loops:
                loop.finish()
            self._on_quiesce()

    async def stop(self, grace: float | None = None) -> None:
        """Stop working, and return once nothing is left running.

        What is under way may finish within `grace` seconds, by default the component's own; then it is cancelled.
        If the caller is cancelled meanwhile, the grace ends at once, and `CancelledError` is raised after the stop.
        """
        self.quiesce()
        await uninterrupted(self._stop(grace), on_cancel=self._hurry)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def _on_start(self) -> None:
        """Acquire what is needed and start the tasks, with `_run_loop` or `_spawn`."""

    def _on_quiesce(self) -> None:
        """Tell the work under way to finish."""

    async def _on_stop(self) -> None:
        """Release what was acquired, once no task is left; also after an `_on_start` that failed halfway."""

    def _default_grace(self) -> float:
        return 0.0

    def _run_loop(self, loop: BackgroundLoop) -> BackgroundLoop:
        """Run a loop until the component quiesces."""
        self._loops.append(loop)
        if self._quiescing:
            loop.finish()
        self._spawn(loop.run())
        return loop

    def _at_stop(self, release: Callable[[], None]) -> None:
        """Call this at the stop, before `_on_stop`: what ends a subscription, for example."""
        self._releases.append(release)

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run a task that ends with the component, if not before."""
        task = asyncio.create_task(work)
        self._background[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("background_task_failed", extra={"component": type(self).__name__}, exc_info=error)

    async def _stop(self, grace: float | None) -> None:
        async with self._calls:
            if self._is_running:
                await self._end(self._default_grace() if grace is None else grace)

    async def _end(self, grace: float) -> None:
        self.quiesce()
        try:
            await self._wait(grace)
            while self._background:
                await end_tasks(self._background)
                await asyncio.sleep(0)  # for the callbacks of those that ended
            for release in self._releases:
                release()
            await self._on_stop()
        finally:
            self._releases.clear()
            self._is_running = False
            self._loops.clear()

    async def _wait(self, grace: float) -> None:
        if not self._background or self._hurried or grace <= 0.0:
            return
        try:
            async with asyncio.timeout(grace) as self._grace:
                await asyncio.wait(self._background)
        except TimeoutError:
            pass
        finally:
            self._grace = None

    def _hurry(self) -> None:
        self._hurried = True
        if self._grace is not None and not self._grace.expired():
            self._grace.reschedule(asyncio.get_running_loop().time())
