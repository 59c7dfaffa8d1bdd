"""SIGTERM and SIGINT: the drain comes first, then the server stops."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from app.process.drain import Drain


@contextmanager
def drain_on_signals(drain: Drain) -> Iterator[None]:
    """Hear SIGTERM and SIGINT before the server does, which would only tell once every request is answered.

    uvicorn's own handler would stop listening at once, where /readyz and new checkouts are to be answered
    503 while the drain lasts; and have the process die of the signal after an orderly end, where asked by
    its `should_exit` it ends with 0. A second signal goes to uvicorn as it is.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}
    told = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal told
        then = before[signal.Signals(number)]
        server = getattr(then, "__self__", None)
        if not isinstance(server, uvicorn.Server):
            loop.call_soon_threadsafe(drain.begin)
        elif not told:
            told = True
            loop.call_soon_threadsafe(drain.begin, partial(setattr, server, "should_exit", True))
            return
        else:
            server.should_exit = True
        if callable(then):
            then(number, frame)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.getsignal(number)
            signal.signal(number, hear)
    except ValueError:  # not in the main thread: a test's server, which is told otherwise
        before.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
