"""Starts and stops in random order, concurrently, some of them cancelled."""

from __future__ import annotations

import asyncio
import random

from app.saga.background.lifecycle import Lifecycle

CALLS = 12


async def any_order(component: Lifecycle, chance: random.Random, *, calls: int = CALLS) -> None:
    """Start, quiesce and stop a component in an order that `chance` draws, and stop it at the end."""
    under_way: list[asyncio.Task[None]] = []
    for _ in range(calls):
        what = chance.choice(["start", "start", "stop", "stop", "patient stop", "quiesce", "cancel"])
        if what == "start":
            under_way.append(asyncio.create_task(component.start()))
        elif what == "stop":
            under_way.append(asyncio.create_task(component.stop(0.0)))
        elif what == "patient stop":
            under_way.append(asyncio.create_task(component.stop(0.01)))
        elif what == "quiesce":
            component.quiesce()
        elif under_way:
            chance.choice(under_way).cancel()
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
    async with asyncio.timeout(60):
        for result in await asyncio.gather(*under_way, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        await component.stop(0.0)


def tasks_left() -> set[asyncio.Task[object]]:
    """Return the tasks of this event loop but the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def connections_closed() -> None:
    """Wait for SQLAlchemy, which closes a connection whose query was cancelled in a task of its own."""
    closing = [task for task in tasks_left() if "/sqlalchemy/" in _file_of(task)]
    async with asyncio.timeout(60):
        await asyncio.gather(*closing, return_exceptions=True)


def _file_of(task: asyncio.Task[object]) -> str:
    code = getattr(task.get_coro(), "cr_code", None)
    return str(code.co_filename) if code is not None else ""
