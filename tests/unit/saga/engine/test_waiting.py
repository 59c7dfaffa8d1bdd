"""Waiting for a saga: it ends by itself, in time, or when the process closes, and leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from app.saga.engine.waiting import Closing, wait_until_done

LONG = 60.0


async def _begun(future: asyncio.Future[None], seconds: float, closing: Closing) -> asyncio.Task[None]:
    waiting = asyncio.create_task(wait_until_done(future, seconds, closing=closing))
    await asyncio.sleep(0)
    return waiting


async def test_a_wait_ends_with_what_it_waits_for() -> None:
    future, closing = asyncio.get_running_loop().create_future(), Closing()
    waiting = await _begun(future, LONG, closing)
    future.set_result(None)
    await waiting
    assert not closing.calls


async def test_a_wait_ends_in_time_and_cancels_nothing() -> None:
    future, closing = asyncio.get_running_loop().create_future(), Closing()
    await wait_until_done(future, 0.001, closing=closing)
    await wait_until_done(future, 0.0, closing=closing)
    assert not future.done()
    assert not closing.calls


async def test_every_wait_ends_when_the_process_closes_and_later_ones_at_once() -> None:
    future, closing = asyncio.get_running_loop().create_future(), Closing()
    waiting = [await _begun(future, LONG, closing) for _ in range(3)]
    closing.set()
    await asyncio.gather(*waiting)
    await wait_until_done(future, LONG, closing=closing)
    assert not closing.calls


async def test_a_wait_that_is_cancelled_is_forgotten_and_what_it_waits_for_goes_on() -> None:
    future, closing = asyncio.get_running_loop().create_future(), Closing()
    waiting = await _begun(future, LONG, closing)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not closing.calls
    assert not future.cancelled()
