"""Pages that show the list are notified when it changes, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

import pytest

from app.operations.change_notifier import ChangeNotifier
from app.operations.subscribers import TooManySubscribers
from app.saga.model.status import SagaStatus
from app.saga.ports.queries import BucketCount


class FakeQueries:
    """Scripted queries, which count their calls."""

    def __init__(self) -> None:
        self.last: str | None = None
        self.counts: dict[SagaStatus, int] = {SagaStatus.RUNNING: 0}
        self.calls = 0

    async def newest(self) -> str | None:
        self.calls += 1
        return self.last

    async def unfinished(self, *, caller: str | None) -> Mapping[SagaStatus, int]:
        assert caller is None
        return self.counts

    async def counts_by_minute(
        self, *, after: datetime, before: datetime, caller: str | None
    ) -> list[BucketCount]:
        raise NotImplementedError(after, before, caller)


async def test_one_query_notifies_every_page_of_a_change() -> None:
    """A new saga, or a finished one; without a change none is notified."""
    queries = FakeQueries()
    notifier = ChangeNotifier(queries, poll_seconds=3600)
    streams = [notifier.changes(heartbeat_seconds=30) for _ in range(5)]
    try:
        for change in ({"last": "a"}, {"counts": {SagaStatus.RUNNING: 1}}):
            waiting = [asyncio.ensure_future(anext(one)) for one in streams]
            await asyncio.sleep(0)
            calls = queries.calls
            for name, value in change.items():
                setattr(queries, name, value)
            await notifier.poll()
            assert len(set(await asyncio.gather(*waiting))) == 1
            assert queries.calls == calls + 1
        waiting = [asyncio.ensure_future(anext(one)) for one in streams]
        await asyncio.sleep(0)
        await notifier.poll()
        await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
    finally:
        await notifier.stop()
    for one in waiting:
        with pytest.raises(StopAsyncIteration):
            await one


async def test_a_change_while_the_last_one_is_being_sent_is_sent_next() -> None:
    """At once, not at the next heartbeat, and not never."""
    queries = FakeQueries()
    notifier = ChangeNotifier(queries, poll_seconds=3600)
    stream = notifier.changes(heartbeat_seconds=3600)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await notifier.poll()
    first = await waiting  # which is being sent now
    queries.last = "a"
    await notifier.poll()
    async with asyncio.timeout(60):
        second = await anext(stream)
    assert first is not None
    assert second == first + 1
    await stream.aclose()
    await notifier.stop()


@pytest.mark.parametrize("changed", [True, False])
async def test_a_change_between_a_page_and_its_stream_is_sent_at_once(changed: bool) -> None:
    """A page has its version; that of another process, such as before a restart, counts as changed."""
    queries = FakeQueries()
    notifier = ChangeNotifier(queries, poll_seconds=3600)
    await notifier.poll()
    version, other_process = notifier.version, ChangeNotifier(queries).version
    if changed:
        queries.last = "a"
        await notifier.poll()
    stream = notifier.changes(heartbeat_seconds=0, since=version)
    assert (await anext(stream) is not None) is changed
    assert await anext(stream) is None
    await stream.aclose()
    stream = notifier.changes(heartbeat_seconds=0, since=other_process)
    assert await anext(stream) is not None
    await stream.aclose()
    await notifier.stop()


async def test_a_stream_without_changes_has_heartbeats() -> None:
    """A heartbeat is no change."""
    notifier = ChangeNotifier(FakeQueries(), poll_seconds=3600)
    stream = notifier.changes(heartbeat_seconds=0)
    assert await anext(stream) is None
    await stream.aclose()
    await notifier.stop()


async def test_more_streams_than_allowed_are_refused_until_one_closes() -> None:
    notifier = ChangeNotifier(FakeQueries(), poll_seconds=3600, max_subscribers=1)
    first = notifier.changes(heartbeat_seconds=0)
    await anext(first)
    with pytest.raises(TooManySubscribers):
        await anext(notifier.changes(heartbeat_seconds=0))
    await first.aclose()
    assert await anext(notifier.changes(heartbeat_seconds=0)) is None
    await notifier.stop()
