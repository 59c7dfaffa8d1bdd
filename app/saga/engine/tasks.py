"""Ending asyncio tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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
