"""A task is ended even where something in it turns a cancellation into an error of its own."""

from __future__ import annotations

import asyncio

from app.saga.engine.tasks import end_tasks


async def test_a_task_that_survives_its_first_cancellation_is_ended() -> None:
    survived = asyncio.Event()

    async def works() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            survived.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(works())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks([task]), timeout=30)
    assert survived.is_set()
    assert task.cancelled()


async def test_what_a_task_raised_is_not_raised_here() -> None:
    async def fails() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert isinstance(task.exception(), ValueError)
