"""Who looks at the list is told when something has moved, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

import pytest

from app.operations.change_notifier import ChangeNotifier, TooManySubscribers
from app.saga.model.state import SagaStatus
from app.saga.ports.queries import BucketCount


class FeedItem:
    """What there is to see, which counts how often it was looked at."""

    def __init__(self) -> None:
        self.last: str | None = None
        self.counts: dict[SagaStatus, int] = {SagaStatus.RUNNING: 0}
        self.looks = 0

    async def newest(self) -> str | None:
        self.looks += 1
        return self.last

    async def unfinished(self, *, caller: str | None) -> Mapping[SagaStatus, int]:
        assert caller is None
        return self.counts

    async def tallies(self, *, after: datetime, before: datetime, caller: str | None) -> list[BucketCount]:
        raise NotImplementedError(after, before, caller)


async def test_each_change_is_told_to_everybody_by_one_look() -> None:
    """A new saga and a finished one; where nothing moved nobody is woken."""
    told = FeedItem()
    pulse = ChangeNotifier(told, poll_seconds=3600)
    lookers = [pulse.beats(heartbeat_seconds=30) for _ in range(5)]
    try:
        for change in ({"last": "a"}, {"counts": {SagaStatus.RUNNING: 1}}):
            waiting = [asyncio.ensure_future(anext(one)) for one in lookers]
            await asyncio.sleep(0)
            looks = told.looks
            for name, value in change.items():
                setattr(told, name, value)
            await pulse.look()
            assert len(set(await asyncio.gather(*waiting))) == 1
            assert told.looks == looks + 1
        waiting = [asyncio.ensure_future(anext(one)) for one in lookers]
        await asyncio.sleep(0)
        await pulse.look()
        await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
    finally:
        await pulse.stop()
    for one in waiting:
        with pytest.raises(StopAsyncIteration):
            await one


async def test_what_moves_while_somebody_is_sent_the_last_change_is_told_next() -> None:
    """At once, not at the next heartbeat, and not never."""
    told = FeedItem()
    pulse = ChangeNotifier(told, poll_seconds=3600)
    looker = pulse.beats(heartbeat_seconds=3600)
    waiting = asyncio.ensure_future(anext(looker))
    await asyncio.sleep(0)
    await pulse.look()
    first = await waiting  # which is being sent now
    told.last = "a"
    await pulse.look()
    async with asyncio.timeout(5):
        second = await anext(looker)
    assert first is not None
    assert second == first + 1
    await looker.aclose()
    await pulse.stop()


@pytest.mark.parametrize("moved", [True, False])
async def test_what_moves_between_a_page_and_its_stream_is_told_at_once(moved: bool) -> None:
    """A page says when it was made; one of another process, before a restart say, is out of date."""
    told = FeedItem()
    pulse = ChangeNotifier(told, poll_seconds=3600)
    await pulse.look()
    mark, anothers = pulse.mark, ChangeNotifier(told).mark
    if moved:
        told.last = "a"
        await pulse.look()
    looker = pulse.beats(heartbeat_seconds=0, since=mark)
    assert (await anext(looker) is not None) is moved
    assert await anext(looker) is None
    await looker.aclose()
    looker = pulse.beats(heartbeat_seconds=0, since=anothers)
    assert await anext(looker) is not None
    await looker.aclose()
    await pulse.stop()


async def test_a_silent_stream_shows_that_it_lives() -> None:
    """A heartbeat, which is no change."""
    pulse = ChangeNotifier(FeedItem(), poll_seconds=3600)
    looker = pulse.beats(heartbeat_seconds=0)
    assert await anext(looker) is None
    await looker.aclose()
    await pulse.stop()


async def test_there_is_room_for_so_many_and_a_place_comes_back() -> None:
    """One more is refused until somebody leaves."""
    pulse = ChangeNotifier(FeedItem(), poll_seconds=3600, max_lookers=1)
    first = pulse.beats(heartbeat_seconds=0)
    await anext(first)
    with pytest.raises(TooManySubscribers):
        await anext(pulse.beats(heartbeat_seconds=0))
    await first.aclose()
    assert await anext(pulse.beats(heartbeat_seconds=0)) is None
    await pulse.stop()
