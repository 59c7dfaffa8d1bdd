"""Ending asyncio tasks for certain, and completing one whatever happens to its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

CANCEL_AGAIN_SECONDS = 0.5


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and return once each has ended; what they raised is not raised here.

    One cancellation is not enough: a driver may turn it into an error of its own and go on (so does
    SQLAlchemy's ping of an asyncpg connection, whose ROLLBACK fails in its place), as may a step.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen: nobody else will ask for it


async def uninterrupted(
    work: Coroutine[Any, Any, None], *, on_cancel: Callable[[], None] = lambda: None
) -> None:
    """Run `work` to its end, also if the caller is cancelled meanwhile: `CancelledError` is raised only then.

    `on_cancel` is called at each cancellation, to hurry the work up.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen: the cancellation takes precedence
        raise cancelled
    task.result()
