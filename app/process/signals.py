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
from app.server.running import running_server
from app.server.service_server import ServiceServer


@contextmanager
def drain_on_signals(drain: Drain) -> Iterator[None]:
    """Drain at the first SIGTERM or SIGINT, before the server stops.

    While the drain lasts the server has to listen, so that /readyz and new checkouts are answered 503. The project's
    own server asks for that (`ServiceServer`). uvicorn's own would stop listening at once: its handler is replaced.
    """
    loop = asyncio.get_running_loop()
    server = running_server()
    if isinstance(server, ServiceServer):
        stop = partial(setattr, server, "should_exit", True)

        def on_first_signal() -> None:
            loop.call_soon_threadsafe(drain.start, stop)

        server.on_first_signal = on_first_signal
        try:
            yield
        finally:
            server.on_first_signal = None
        return
    with _before_the_handlers(drain, loop):
        yield


@contextmanager
def _before_the_handlers(drain: Drain, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Handle the signals before uvicorn does, as `uvicorn app.main:app` starts it.

    Its handler would also have the process die of the signal after an orderly end; asked by its `should_exit` it ends
    with 0. A second signal goes to uvicorn as it is.
    """
    before: dict[signal.Signals, Any] = {}
    draining = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal draining
        handler = before[signal.Signals(number)]
        server = getattr(handler, "__self__", None)
        if not isinstance(server, uvicorn.Server):
            loop.call_soon_threadsafe(drain.start)
        elif not draining:
            draining = True
            loop.call_soon_threadsafe(drain.start, partial(setattr, server, "should_exit", True))
            return
        else:
            server.should_exit = True
        if callable(handler):
            handler(number, frame)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.getsignal(number)
            signal.signal(number, handle)
    except ValueError:  # not in the main thread: a test's server, which is stopped otherwise
        before.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
