"""Live streams: what each subscriber gets, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.operations.event_streams import EventStreams, SagaStream
from app.operations.saga_view import SagaView
from app.operations.subscribers import TooManySubscribers
from app.saga import EventType, NewSaga, SagaEvent, SagaState
from app.saga.ports.changes import SAFETY_NET_FACTOR, Change, ChangeKind
from app.saga.ports.changes import Subscriber as OnChange
from tests.builders import NOON, settle
from tests.simulation.loop import VirtualLoop

NEVER = 3600.0


class News:
    """A log that records what it is asked for."""

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
async def event_streams(**options: Any) -> AsyncIterator[tuple[EventStreams, News]]:
    news = News()
    given = {"frame": lambda event: b"%d " % event.seq, "poll_seconds": NEVER, **options}
    streams = EventStreams(news, **given)
    try:
        yield streams, news
    finally:
        await streams.stop()


class Subscriber:
    """A subscriber, and what it got."""

    def __init__(
        self, streams: EventStreams, stream: SagaStream, *, after: int = 0, heartbeat: float = NEVER
    ) -> None:
        self.came: list[Sequence[bytes]] = []
        self._following = streams.frames(stream, after=after, heartbeat_seconds=heartbeat)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frames in self._following:
            self.came.append(frames)

    @property
    def seen(self) -> bytes:
        return b"".join(frame for frames in self.came for frame in frames)


async def test_a_subscriber_gets_the_trail_so_far_and_then_each_event_until_the_end() -> None:
    """In order, each once, and the end of the saga is the end of the stream."""
    async with event_streams() as (streams, _):
        with streams.subscribe(a_view("a", an_event(1), an_event(2))) as stream:
            subscriber = Subscriber(streams, stream)
            await settle()
            assert subscriber.seen == b"1 2 "
            streams.observe("a", [an_event(3)])
            await settle()
            assert subscriber.seen == b"1 2 3 "
            streams.observe("a", [an_event(4, EventType.SAGA_COMPLETED)])
            await asyncio.wait_for(subscriber.task, 60)
            assert subscriber.seen == b"1 2 3 4 "


async def test_a_subscriber_continues_after_the_last_event_it_has() -> None:
    """Last-Event-ID: nothing twice, nothing left out."""
    async with event_streams() as (streams, _):
        with streams.subscribe(a_view("a", an_event(1), an_event(2), an_event(3))) as stream:
            subscriber = Subscriber(streams, stream, after=2)
            await settle()
            assert subscriber.seen == b"3 "
            subscriber.task.cancel()


async def test_needs_attention_is_not_the_end() -> None:
    """An operator may act, and the stream continues."""
    async with event_streams() as (streams, _):
        with streams.subscribe(a_view("a", an_event(1))) as stream:
            subscriber = Subscriber(streams, stream)
            streams.observe("a", [an_event(2, EventType.SAGA_NEEDS_ATTENTION)])
            streams.observe("a", [an_event(3)])
            await settle()
            assert subscriber.seen == b"1 2 3 "
            assert not subscriber.task.done()
            subscriber.task.cancel()


async def test_sagas_of_other_replicas_cost_one_query_for_all_subscribers() -> None:
    """A thousand subscribers to a hundred sagas: one query, with the seq that is known of each."""
    async with event_streams() as (streams, news):
        subscribers = []
        places = []
        for n in range(1000):
            saga_id = f"saga-{n % 100}"
            news.stored[saga_id] = [an_event(1), an_event(2)]
            place = streams.subscribe(a_view(saga_id, an_event(1)))
            places.append(place)
            subscribers.append(Subscriber(streams, place.__enter__()))
        await settle()
        await streams.poll()
        await settle()
        assert news.asked == [{f"saga-{n}": 1 for n in range(100)}]
        assert {subscriber.seen for subscriber in subscribers} == {b"1 2 "}
        for subscriber, place in zip(subscribers, places, strict=True):
            subscriber.task.cancel()
            place.__exit__(None, None, None)


async def test_without_subscribers_the_log_is_not_read() -> None:
    """Nor does a saga that has ended."""
    async with event_streams() as (streams, news):
        await streams.poll()
        with streams.subscribe(a_view("a", an_event(1), an_event(2, EventType.SAGA_COMPENSATED))):
            await streams.poll()
        await streams.poll()
        assert news.asked == []


async def test_no_subscriber_ever_sees_a_gap() -> None:
    """An event that comes too early waits for the log, which has them all."""
    async with event_streams() as (streams, news):
        with streams.subscribe(a_view("a", an_event(1))) as stream:
            subscriber = Subscriber(streams, stream)
            streams.observe("a", [an_event(3)])
            await settle()
            assert subscriber.seen == b"1 "
            news.stored["a"] = [an_event(1), an_event(2), an_event(3)]
            await streams.poll()
            streams.observe("a", [an_event(2)])
            await settle()
            assert subscriber.seen == b"1 2 3 "
            subscriber.task.cancel()


async def test_a_silent_stream_has_heartbeats() -> None:
    """So that no proxy takes the connection for dead."""
    async with event_streams() as (streams, _):
        with streams.subscribe(a_view("a", an_event(1))) as stream:
            following = streams.frames(stream, after=1, heartbeat_seconds=0.001)
            assert await anext(following) == ()
            assert await anext(following) == ()


async def test_more_subscribers_than_allowed_are_refused_until_one_leaves() -> None:
    async with event_streams(max_subscribers=1) as (streams, _):
        with streams.subscribe(a_view("a", an_event(1))), pytest.raises(TooManySubscribers):
            streams.subscribe(a_view("b", an_event(1))).__enter__()
        with streams.subscribe(a_view("b", an_event(1))):
            assert streams.subscribers == 1
        assert streams.subscribers == 0


async def test_a_process_that_stops_ends_its_streams() -> None:
    """Clients reconnect elsewhere; none delays the stop."""
    async with event_streams() as (streams, _):
        with streams.subscribe(a_view("a", an_event(1))) as stream:
            subscriber = Subscriber(streams, stream)
            await settle()
            streams.quiesce()
            await asyncio.wait_for(subscriber.task, 60)
            with pytest.raises(TooManySubscribers):
                streams.subscribe(a_view("a", an_event(1))).__enter__()


async def test_a_slow_subscriber_delays_no_other() -> None:
    """Its position in the list stays where it is."""
    async with event_streams() as (streams, _):
        with streams.subscribe(a_view("a", an_event(1))) as stream:
            slow = streams.frames(stream, after=0, heartbeat_seconds=NEVER)
            await anext(slow)
            quick = Subscriber(streams, stream)
            for seq in range(2, 50):
                streams.observe("a", [an_event(seq)])
                await settle()
            assert quick.seen.count(b" ") == 49
            assert len(await anext(slow)) == 48
            quick.task.cancel()


class LiveChanges:
    """A `ChangeSource` that reports what other processes store, as far as a test lets it."""

    live = True

    def __init__(self) -> None:
        self.report: OnChange = lambda _change: None

    def subscribe(self, subscriber: OnChange) -> Callable[[], None]:
        self.report = subscriber
        return lambda: None

    def stored(self, saga_id: str) -> None:
        self.report(Change(kind=ChangeKind.EVENTS, saga_ids=frozenset({saga_id}), elsewhere=True))


def test_reports_of_one_saga_never_put_off_the_read_of_the_others() -> None:
    """A report may be lost, as its process died: the saga's end is found by the next read of all."""

    async def main() -> None:
        changes = LiveChanges()
        async with event_streams(changes=changes, poll_seconds=1.0) as (streams, news):
            news.stored = {"a": [an_event(1)], "b": [an_event(1)]}
            with (
                streams.subscribe(a_view("a", an_event(1))) as lost,
                streams.subscribe(a_view("b", an_event(1))),
            ):
                await streams.start()
                await asyncio.sleep(2.0)
                news.stored["a"].append(an_event(2, EventType.SAGA_COMPLETED))
                for _ in range(2 * SAFETY_NET_FACTOR):
                    changes.stored("b")
                    await asyncio.sleep(0.5)
                assert lost.ended
                everything = [asked for asked in news.asked if len(asked) == 2]
                assert len(everything) <= 3, "reports make no more reads of all"

    VirtualLoop().run(main())


def test_a_change_between_the_view_and_the_subscription_is_read_at_once() -> None:
    """It was reported while nobody was subscribed to the saga."""

    async def main() -> None:
        changes = LiveChanges()
        async with event_streams(changes=changes, poll_seconds=NEVER) as (streams, news):
            await streams.start()
            view = a_view("a", an_event(1))
            news.stored = {"a": [an_event(1), an_event(2, EventType.SAGA_COMPLETED)]}
            changes.stored("a")
            await asyncio.sleep(1.0)
            with streams.subscribe(view) as stream:
                await asyncio.sleep(1.0)
                assert stream.ended

    VirtualLoop().run(main())
