"""One timer for all calls."""

from __future__ import annotations

import asyncio

import pytest

from app.saga.engine.call_timeouts import CallTimeouts
from tests.simulation.loop import VirtualLoop


async def a_call(timeouts: CallTimeouts, seconds: float, takes: float) -> tuple[bool, float]:
    """Make a call; return whether its limit ended it, and when."""
    limit = timeouts.start(seconds)
    timed_out = False
    try:
        try:
            await asyncio.sleep(takes)
        finally:
            timed_out = timeouts.end(limit)
    except asyncio.CancelledError:
        if not timed_out:
            raise
    return timed_out, asyncio.get_running_loop().time()


def test_each_call_ends_at_its_own_limit_whatever_the_others_have() -> None:
    """A later call with a shorter limit ends first; one that is quick enough isn't touched."""

    async def main() -> None:
        timeouts = CallTimeouts()
        calls = ((5, 60), (1, 60), (5, 2), (9, 60))
        ended = await asyncio.gather(*(a_call(timeouts, *call) for call in calls))
        assert ended == [(True, 5), (True, 1), (False, 2), (True, 9)]
        began = asyncio.get_running_loop().time()
        assert await a_call(timeouts, 3, 60) == (True, began + 3)

    VirtualLoop().run(main())


def test_a_call_that_is_cancelled_from_outside_too_is_cancelled() -> None:
    """A limit that is reached in the same moment doesn't hide that the process stops."""

    async def main() -> None:
        timeouts = CallTimeouts()
        call = asyncio.create_task(a_call(timeouts, 1, 60))
        asyncio.get_running_loop().call_at(1, call.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call

    VirtualLoop().run(main())


def test_a_call_that_ends_in_the_moment_of_its_limit_leaves_no_cancellation_behind() -> None:
    """What the task does next is not cancelled."""

    async def main() -> None:
        timeouts = CallTimeouts()

        async def stubborn() -> int:
            limit = timeouts.start(1)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
            assert timeouts.end(limit)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        assert await asyncio.create_task(stubborn()) == 0

    VirtualLoop().run(main())
