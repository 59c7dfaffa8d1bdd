"""An event loop in virtual time, with processes that can be stopped, woken and killed between any two callbacks.

Time passes only where nothing is ready. Whatever is ready runs first in, first out, so the same calls
give the same order of events in every run. There are no threads and no sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVarTuple

_Ts = TypeVarTuple("_Ts")


class Deadlock(Exception):
    """Somebody waits, and nothing will ever happen any more."""


class Process:
    """What runs together, and is stopped or killed together. Its memory is whatever its tasks hold."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.held: deque[asyncio.Handle] = deque()
        self.context: Context = copy_context()
        self.context.run(_process.set, self)


_process: ContextVar[Process | None] = ContextVar("_process", default=None)

WORLD = Context()
"""Where the world's own callbacks run: in no process, so that nothing stops them."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks of the living; keeps those of the frozen; forgets those of the dead."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self.broken: list[str] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._over = False
        self.set_task_factory(self._noted)  # type: ignore[arg-type]

    def time(self) -> float:
        return self.elapsed

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run `main` to its end, in no process; raise `Deadlock` where it would wait for ever."""
        events._set_running_loop(self)
        try:
            task = WORLD.run(self.create_task, main)
            while not task.done():
                self._turn()
            task.result()
        finally:
            self._bury()
            events._set_running_loop(None)

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task within a process."""
        return self.create_task(work, context=process.context)

    def freeze(self, process: Process) -> None:
        """Stop a process as SIGSTOP does."""
        process.frozen = True

    def thaw(self, process: Process) -> None:
        """Let a process go on with whatever became ready meanwhile, in that order."""
        process.frozen = False
        self._ready.extend(process.held)
        process.held.clear()

    def kill(self, process: Process) -> None:
        """End a process as SIGKILL does: not a line of it runs any more, no `finally` either."""
        process.alive = False
        process.held.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what nobody has dealt with."""
        if not self._over:
            self.broken.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is dropped when its time comes."""

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As ever, without the checks that a debugger would like."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As ever; of two timers for the same time the older one comes first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.elapsed + delay, callback, *args, context=context)

    def _turn(self) -> None:
        """Run what is ready; where nothing is, let time pass until the next timer."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not ready:
            if not timers:
                raise Deadlock
            self.elapsed = max(self.elapsed, timers[0][0])
        while timers and timers[0][0] <= self.elapsed:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            context = handle._context  # type: ignore[attr-defined]
            process = context.get(_process)
            if process is not None and (process.frozen or not process.alive):
                if process.alive:
                    process.held.append(handle)
                continue
            try:
                context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]
            except Exception as error:  # noqa: BLE001 (as any event loop: noted, and it goes on)
                self.call_exception_handler({"message": "A callback broke down", "exception": error})

    def _noted(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **kwargs: Any
    ) -> asyncio.Task[Any]:
        """Keep every task until the end: the garbage collector would run the `finally` of the dead."""
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **kwargs)
        self._tasks.append(task)
        return task

    def _bury(self) -> None:
        """Close what never ended, once nothing counts any more."""
        self._over = True
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with contextlib.suppress(BaseException):
                    task.get_coro().close()
        self._tasks.clear()
        self._ready.clear()
        self._timers.clear()
        self.close()
