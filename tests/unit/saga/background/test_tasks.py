"""A task is ended even where something in it turns a cancellation into an error of its own."""

from __future__ import annotations

import asyncio

import pytest

from app.saga.background.tasks import end_tasks, uninterrupted


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


async def test_work_is_completed_although_its_caller_is_cancelled() -> None:
    """Again and again; the caller learns of its cancellation afterwards."""
    hurried = 0
    done = asyncio.Event()

    async def work() -> None:
        while hurried < 3:  # noqa: ASYNC110 (it is the cancellations that are counted)
            await asyncio.sleep(0)
        done.set()

    def hurry() -> None:
        nonlocal hurried
        hurried += 1

    caller = asyncio.create_task(uninterrupted(work(), on_cancel=hurry))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.wait({caller}, timeout=30)
    assert done.is_set()
    assert caller.cancelled()


async def test_what_uninterrupted_work_raises_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await uninterrupted(fails())
