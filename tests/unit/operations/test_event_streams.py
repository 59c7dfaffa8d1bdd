"""Watching sagas: what each watcher is told, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.operations.event_streams import EventStreams, SagaStream, TooManyWatchers
from app.operations.saga_view import SagaView
from app.saga import EventType, NewSaga, SagaEvent, SagaState
from tests.builders import NOON, settle

NEVER = 3600.0


class News:
    """A log that notes what it is asked."""

    def __init__(self) -> None:
        self.stored: dict[str, list[SagaEvent]] = {}
        self.asked: list[dict[str, int]] = []

    async def since(self, seqs: Mapping[str, int]) -> Mapping[str, list[SagaEvent]]:
        self.asked.append(dict(seqs))
        return {saga_id: [e for e in self.stored[saga_id] if e.seq > seq] for saga_id, seq in seqs.items()}


def an_event(seq: int, event: EventType = EventType.STEP_RETRIED) -> SagaEvent:
    return SagaEvent(seq=seq, at=NOON, type=EventType.SAGA_STARTED if seq == 1 else event)


def a_view(saga_id: str, *events: SagaEvent) -> SagaView:
    saga = NewSaga(id=saga_id, definition="checkout", version=1)
    return SagaView(saga=saga, state=SagaState(steps=()), events=events, next_action_at=None)


@asynccontextmanager
async def a_watch(**options: Any) -> AsyncIterator[tuple[EventStreams, News]]:
    news = News()
    given = {"frame": lambda event: b"%d " % event.seq, "poll_seconds": NEVER, **options}
    watch = EventStreams(news, **given)
    try:
        yield watch, news
    finally:
        await watch.stop()


class Watcher:
    """Somebody who watches, and what came."""

    def __init__(
        self, watch: EventStreams, watched: SagaStream, *, after: int = 0, heartbeat: float = NEVER
    ) -> None:
        self.came: list[Sequence[bytes]] = []
        self._following = watch.follow(watched, after=after, heartbeat_seconds=heartbeat)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frames in self._following:
            self.came.append(frames)

    @property
    def seen(self) -> bytes:
        return b"".join(frame for frames in self.came for frame in frames)


async def test_a_watcher_gets_the_trail_so_far_and_then_what_comes_until_the_end() -> None:
    """In order, each once, and the end of the saga is the end of the stream."""
    async with a_watch() as (watch, _):
        with watch.watching(a_view("a", an_event(1), an_event(2))) as watched:
            watcher = Watcher(watch, watched)
            await settle()
            assert watcher.seen == b"1 2 "
            watch.tell("a", an_event(3))
            await settle()
            assert watcher.seen == b"1 2 3 "
            watch.tell("a", an_event(4, EventType.SAGA_COMPLETED))
            await asyncio.wait_for(watcher.task, 5)
            assert watcher.seen == b"1 2 3 4 "


async def test_a_watcher_goes_on_behind_what_it_has() -> None:
    """Last-Event-ID: nothing twice, nothing left out."""
    async with a_watch() as (watch, _):
        with watch.watching(a_view("a", an_event(1), an_event(2), an_event(3))) as watched:
            watcher = Watcher(watch, watched, after=2)
            await settle()
            assert watcher.seen == b"3 "
            watcher.task.cancel()


async def test_needs_attention_is_not_the_end() -> None:
    """A person may act, and the stream goes on."""
    async with a_watch() as (watch, _):
        with watch.watching(a_view("a", an_event(1))) as watched:
            watcher = Watcher(watch, watched)
            watch.tell("a", an_event(2, EventType.SAGA_NEEDS_ATTENTION))
            watch.tell("a", an_event(3))
            await settle()
            assert watcher.seen == b"1 2 3 "
            assert not watcher.task.done()
            watcher.task.cancel()


async def test_what_others_run_costs_one_query_for_all_its_watchers() -> None:
    """A thousand watchers of a hundred sagas: one question, with the seq that is known of each."""
    async with a_watch() as (watch, news):
        watchers = []
        places = []
        for n in range(1000):
            saga_id = f"saga-{n % 100}"
            news.stored[saga_id] = [an_event(1), an_event(2)]
            place = watch.watching(a_view(saga_id, an_event(1)))
            places.append(place)
            watchers.append(Watcher(watch, place.__enter__()))
        await settle()
        await watch.poll()
        await settle()
        assert news.asked == [{f"saga-{n}": 1 for n in range(100)}]
        assert {watcher.seen for watcher in watchers} == {b"1 2 "}
        for watcher, place in zip(watchers, places, strict=True):
            watcher.task.cancel()
            place.__exit__(None, None, None)


async def test_nobody_watching_asks_nothing() -> None:
    """Nor does a saga that has ended."""
    async with a_watch() as (watch, news):
        await watch.poll()
        with watch.watching(a_view("a", an_event(1), an_event(2, EventType.SAGA_COMPENSATED))):
            await watch.poll()
        await watch.poll()
        assert news.asked == []


async def test_a_gap_is_never_shown() -> None:
    """What is told out of turn waits for the log, which has all of it."""
    async with a_watch() as (watch, news):
        with watch.watching(a_view("a", an_event(1))) as watched:
            watcher = Watcher(watch, watched)
            watch.tell("a", an_event(3))
            await settle()
            assert watcher.seen == b"1 "
            news.stored["a"] = [an_event(1), an_event(2), an_event(3)]
            await watch.poll()
            watch.tell("a", an_event(2))
            await settle()
            assert watcher.seen == b"1 2 3 "
            watcher.task.cancel()


async def test_silence_has_heartbeats() -> None:
    """So that no proxy takes the connection for dead."""
    async with a_watch() as (watch, _):
        with watch.watching(a_view("a", an_event(1))) as watched:
            following = watch.follow(watched, after=1, heartbeat_seconds=0.001)
            assert await anext(following) == ()
            assert await anext(following) == ()


async def test_more_watchers_than_allowed_are_refused_and_a_place_comes_back() -> None:
    """Whoever leaves makes room."""
    async with a_watch(max_watchers=1) as (watch, _):
        with watch.watching(a_view("a", an_event(1))), pytest.raises(TooManyWatchers):
            watch.watching(a_view("b", an_event(1))).__enter__()
        with watch.watching(a_view("b", an_event(1))):
            assert watch.watchers == 1
        assert watch.watchers == 0


async def test_a_process_that_stops_sends_its_watchers_away() -> None:
    """They come back elsewhere; none holds the stop up."""
    async with a_watch() as (watch, _):
        with watch.watching(a_view("a", an_event(1))) as watched:
            watcher = Watcher(watch, watched)
            await settle()
            watch.quiesce()
            await asyncio.wait_for(watcher.task, 5)
            with pytest.raises(TooManyWatchers):
                watch.watching(a_view("a", an_event(1))).__enter__()


async def test_one_who_does_not_read_holds_up_no_other() -> None:
    """Its place in the list stays where it is."""
    async with a_watch() as (watch, _):
        with watch.watching(a_view("a", an_event(1))) as watched:
            slow = watch.follow(watched, after=0, heartbeat_seconds=NEVER)
            await anext(slow)
            quick = Watcher(watch, watched)
            for seq in range(2, 50):
                watch.tell("a", an_event(seq))
                await settle()
            assert quick.seen.count(b" ") == 49
            assert len(await anext(slow)) == 48
            quick.task.cancel()
