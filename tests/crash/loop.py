"""An event loop on which processes can be stopped, woken and killed, and on which time may be virtual.

Whatever is begun in a process's context belongs to it, tasks and timers too. A stopped process runs not
one line more, no `finally` and no `except`, as after SIGSTOP; one that is never woken is as after `kill -9`.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple

from tests.builders import NOON, VirtualClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)

OUTSIDE = contextvars.Context()
"""Where those live that no death of a process touches: the services, the network."""


class Gone(asyncio.CancelledError):
    """A process that has been buried asked for something."""


@dataclass(eq=False)
class _Call:
    """A callback of a process; held back while that is stopped."""

    process: Process
    callback: Callable[..., object]
    args: tuple[Any, ...]
    context: contextvars.Context
    handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if self.process.is_stopped:
            self.process.held.append(self)
        elif self.handle is None or not self.handle.cancelled():
            self.callback(*self.args)


@dataclass(eq=False)
class Process:
    """What one process of the operating system would be. Made while a `ProcessLoop` runs."""

    name: str
    is_stopped: bool = False
    is_buried: bool = False
    held: list[_Call] = field(default_factory=list)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._here: asyncio.Future[None] | None = None
        self.stopped = asyncio.Event()
        self.context = contextvars.Context()
        self.context.run(_PROCESS.set, self)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do some work inside of this process."""
        return self._loop.create_task(work, context=self.context)

    async def stop(self) -> None:
        """Stop the process that this is called in, right here; return if it is woken."""
        if self.is_buried:
            raise Gone
        self.is_stopped = True
        self._here = self._loop.create_future()
        self._loop.call_soon(self.stopped.set, context=OUTSIDE)
        await self._here

    def wake(self) -> None:
        """Go on where it was stopped; only then comes what has become due meanwhile."""
        self.is_stopped = False
        self.stopped.clear()
        if self._here is not None and not self._here.done():
            self._here.set_result(None)
        held, self.held = self.held, []
        for call in held:
            self._loop.call_soon(call, context=call.context)

    async def bury(self) -> None:
        """Clear away what a killed process has left in this one; nothing of it reaches a port any more."""
        self.is_buried = True
        for task in self.tasks:
            task.cancel()
        self.wake()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class ProcessLoop(asyncio.SelectorEventLoop):
    """Runs the callbacks of processes that aren't stopped."""

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        context, call = _owned(callback, args, context)
        if call is None:
            return super().call_soon(callback, *args, context=context)
        call.handle = super().call_soon(call, context=context)
        return call.handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        context, call = _owned(callback, args, context)
        if call is None:
            return super().call_at(when, callback, *args, context=context)
        call.handle = handle = super().call_at(when, call, context=context)
        return handle

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        context = options.get("context")
        process = (contextvars.copy_context() if context is None else context).get(_PROCESS)
        if process is not None:
            process.tasks.add(task)
            task.add_done_callback(process.tasks.discard, context=OUTSIDE)
        return task


def _owned(
    callback: Any, args: tuple[Any, ...], context: contextvars.Context | None
) -> tuple[contextvars.Context, _Call | None]:
    context = contextvars.copy_context() if context is None else context
    process = context.get(_PROCESS)
    if process is None or isinstance(callback, _Call):
        return context, None
    return context, _Call(process, callback, args, context)


class WorldClock(VirtualClock):
    """The one clock of a virtual world: it stands while anything can be done, and then jumps."""

    def __init__(self) -> None:
        super().__init__(NOON, self_winding=False)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def set_right(self, now: object) -> None:
        """Do nothing: it is right."""


class _Jump(selectors.DefaultSelector):
    """Waits for nothing: the time at which something is due comes at once."""

    def __init__(self, clock: WorldClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("Nothing is left that could ever happen.")
        if timeout > 0:
            self._clock.advance(timeout)
        return super().select(0)


class VirtualLoop(ProcessLoop):
    """A `ProcessLoop` whose time is a clock that nobody waits for."""

    def __init__(self) -> None:
        self.clock = WorldClock()
        super().__init__(_Jump(self.clock))

    def time(self) -> float:
        return self.clock.monotonic()


def in_virtual_time(work: Callable[[WorldClock], Coroutine[Any, Any, T]]) -> T:
    """Run something to its end on a loop of its own."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(loop.clock))


def in_real_time(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end, with processes, in the time of this machine."""
    with asyncio.Runner(loop_factory=ProcessLoop) as runner:
        return runner.run(work)
