"""Waiting for a saga: one future and one timer each, as many as there are requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Closing(asyncio.Event):
    """An event at which waits end; a wait needs no task to hear of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Callable[[], None], None] = {}
        """What is called, once, when it is set."""

    def set(self) -> None:
        """Set it, and end what waits."""
        super().set()
        for call in list(self.calls):
            call()


async def wait_until_done(
    future: asyncio.Future[Any], seconds: float, *, closing: Closing | None = None
) -> None:
    """Return when a future is done, at the latest after `seconds` or at `closing`; never cancel it."""
    if future.done() or seconds <= 0 or (closing is not None and closing.is_set()):
        return
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = loop.call_later(seconds, wake)
    future.add_done_callback(wake)
    if closing is not None:
        closing.calls[wake] = None
    try:
        await woken
    finally:
        timer.cancel()
        future.remove_done_callback(wake)
        if closing is not None:
            del closing.calls[wake]
