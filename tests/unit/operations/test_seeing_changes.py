"""What another process stores is seen at once on PostgreSQL, long before a poll; without the listener, by the poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest

from app.operations import saga_waits
from app.operations.change_notifier import ChangeNotifier
from app.operations.event_streams import EventStreams
from app.operations.reading import SagaReader
from app.saga import Definitions, SagaOrchestrator
from app.saga.engine.cancellation_poll import CancellationPoll
from app.saga.engine.lease import Lease
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner
from app.saga.model.events import EventType
from app.saga.model.status import SagaStatus
from app.saga.ports.changes import Change
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import NewSaga, RowChange, StoredSaga
from app.storage import Storage, open_storage
from app.storage.sagas.queries import SqlQueries
from app.storage.sagas.statistics import SqlStatistics
from tests.builders import (
    HANG,
    NOON,
    a_definition,
    a_saga,
    a_trail,
    an_action,
    an_event,
    compensation_failed,
    failed,
    finished,
    started,
    succeeded,
    three_steps,
)

SLOW = 3600.0
LIMIT = 20.0
"""Seconds within which a report comes; no poll does."""

ALL_WELL = a_trail(started(), *map(succeeded, ("payment", "inventory", "shipping")), finished())
STUCK = a_trail(
    started(),
    succeeded("payment"),
    failed("inventory"),
    compensation_failed("payment"),
    finished(EventType.SAGA_NEEDS_ATTENTION),
)


class Here:
    """A process that listens, and the storage of another one."""

    def __init__(self, storage: Storage, elsewhere: Storage) -> None:
        definition = a_definition(three_steps(payment=[HANG]))
        self.storage = storage
        self.elsewhere = elsewhere
        self.clock = SystemClock()
        self.lease = Lease(self.clock, "here", 30.0)
        self.definitions = Definitions([definition])
        orchestrator = SagaOrchestrator(definition, storage.log, clock=self.clock, lease=self.lease)
        self.runner = SagaRunner(self.definitions, storage.log, orchestrator, clock=self.clock)

    def reader(self) -> SagaReader:
        queries, changes = self.storage.queries, self.storage.changes
        return SagaReader(self.runner, queries, self.definitions, lease_until=lambda: None, changes=changes)

    async def hold_lease(self) -> None:
        await self.storage.log.renew("here", seconds=30.0)
        self.lease.renewed(self.clock.monotonic())

    async def start_elsewhere(self) -> NewSaga:
        saga = a_saga()
        await self.elsewhere.log.start(saga, started(), owner="elsewhere")
        return saga

    async def complete_elsewhere(self, saga: NewSaga) -> None:
        change = RowChange(status=SagaStatus.COMPLETED, next_action_at=None, finished_at=NOON)
        await self.elsewhere.log.append(saga.id, epoch=1, events=ALL_WELL[1:], change=change)


async def live(storage: Storage) -> None:
    """Return once this process hears of the others' changes."""
    heard = asyncio.Event()
    unsubscribe = storage.changes.subscribe(lambda _: heard.set())
    if not storage.changes.live:
        async with asyncio.timeout(LIMIT):
            await heard.wait()
    unsubscribe()


@asynccontextmanager
async def two_processes(url: str) -> AsyncIterator[Here]:
    async with open_storage(url, listen=True) as storage, open_storage(url, listen=True) as elsewhere:
        await live(storage)
        await live(elsewhere)
        here = Here(storage, elsewhere)
        try:
            yield here
        finally:
            await here.runner.drop()


async def nothing_pending(here: Here) -> None:
    """Return once `here` has heard of all that was stored elsewhere so far."""
    heard = asyncio.Event()
    marker = a_saga()

    def hear(change: Change) -> None:
        if change.saga_ids is not None and marker.id in change.saga_ids:
            heard.set()

    unsubscribe = here.storage.changes.subscribe(hear)
    await here.elsewhere.log.start(marker, started(), owner="elsewhere")
    async with asyncio.timeout(LIMIT):
        await heard.wait()
    unsubscribe()


async def test_a_live_stream_shows_another_processs_events_at_once(postgres_url: str) -> None:
    async with two_processes(postgres_url) as here:
        saga = await here.start_elsewhere()
        view = await here.reader().get(saga.id)
        assert view is not None
        streams = EventStreams(
            here.storage.queries,
            frame=lambda event: event.type.encode(),
            poll_seconds=SLOW,
            changes=here.storage.changes,
        )
        async with streams, asyncio.timeout(LIMIT):
            with streams.subscribe(view) as stream:
                frames = streams.frames(stream, after=1, heartbeat_seconds=SLOW)
                await here.complete_elsewhere(saga)
                assert (await anext(frames))[-1] == b"saga_completed"


async def test_the_page_is_notified_of_another_processs_saga_at_once(postgres_url: str) -> None:
    async with two_processes(postgres_url) as here:
        await nothing_pending(here)
        changes = here.storage.changes
        notifier = ChangeNotifier(SqlStatistics(here.storage.log), poll_seconds=SLOW, changes=changes)
        async with notifier, asyncio.timeout(LIMIT):
            stream = notifier.changes(heartbeat_seconds=SLOW)
            notified = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await here.start_elsewhere()
            assert await notified is not None
            await stream.aclose()


async def test_a_request_that_waits_for_another_processs_saga_is_answered_at_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeat of a checkout at another replica than the one that runs it."""
    monkeypatch.setattr(saga_waits, "POLL_SECONDS", SLOW)
    async with two_processes(postgres_url) as here:
        saga = await here.start_elsewhere()
        queries, looked = here.storage.queries, asyncio.Event()

        async def noted(saga_ids: Collection[str]) -> set[str]:
            found = await SqlQueries.inactive(queries, saga_ids)
            looked.set()
            return found

        monkeypatch.setattr(queries, "inactive", noted)
        waiting = asyncio.ensure_future(here.reader().wait(saga.id, seconds=SLOW))
        await looked.wait()  # for what was stored before it subscribed
        await here.complete_elsewhere(saga)
        async with asyncio.timeout(LIMIT):
            view = await waiting
        assert view is not None
        assert view.state.status is SagaStatus.COMPLETED


async def test_a_cancellation_requested_at_another_process_arrives_at_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_processes(postgres_url) as here:
        await here.hold_lease()
        saga, cancelled = a_saga(), asyncio.Event()
        running = here.runner.launch(saga)
        await asyncio.wait({running.started})
        monkeypatch.setattr(here.runner, "cancel", lambda *_: cancelled.set())
        poll = CancellationPoll(
            here.storage.log, here.runner, here.lease, poll_seconds=SLOW, changes=here.storage.changes
        )
        async with poll, asyncio.timeout(LIMIT):
            await here.elsewhere.log.request_cancel(saga.id, an_action())
            await cancelled.wait()


async def test_what_an_operator_retries_at_another_process_is_claimed_at_once(postgres_url: str) -> None:
    async with two_processes(postgres_url) as here:
        await here.hold_lease()
        saga, claimed = await here.start_elsewhere(), asyncio.Event()
        attention = RowChange(status=SagaStatus.NEEDS_ATTENTION, next_action_at=None)
        await here.elsewhere.log.append(saga.id, epoch=1, events=STUCK[1:], change=attention)
        recovery = Recovery(
            here.storage.log,
            here.runner,
            here.definitions,
            here.lease,
            clock=here.clock,
            poll_seconds=SLOW,
            max_in_flight=10,
            changes=here.storage.changes,
        )

        def note(stored: StoredSaga) -> None:
            if stored.saga.id == saga.id:
                claimed.set()

        recovery.on_takeover = note
        async with recovery, asyncio.timeout(LIMIT):
            await nothing_pending(here)
            retry = an_event(EventType.RETRY_REQUESTED, data=an_action().data())
            retried = a_trail(*STUCK, retry)[-1]
            await here.elsewhere.log.operate(saga.id, epoch=1, event=retried, status=SagaStatus.COMPENSATING)
            await claimed.wait()


async def test_without_the_listener_the_polls_find_every_change(postgres_url: str) -> None:
    """It is cut while they run; they are as frequent then as where nothing is ever reported."""
    async with two_processes(postgres_url) as here:
        saga = await here.start_elsewhere()
        view = await here.reader().get(saga.id)
        assert view is not None
        changes, poll_seconds = here.storage.changes, 0.05
        streams = EventStreams(
            here.storage.queries,
            frame=lambda event: event.type.encode(),
            poll_seconds=poll_seconds,
            changes=changes,
        )
        notifier = ChangeNotifier(SqlStatistics(here.storage.log), poll_seconds=poll_seconds, changes=changes)
        async with streams, notifier, asyncio.timeout(LIMIT):
            await here.storage.changes.stop()  # type: ignore[attr-defined]
            assert not changes.live
            with streams.subscribe(view) as stream:
                page = notifier.changes(heartbeat_seconds=SLOW)
                notified = asyncio.ensure_future(anext(page))
                waiting = asyncio.ensure_future(here.reader().wait(saga.id, seconds=SLOW))
                await here.complete_elsewhere(saga)
                frames = streams.frames(stream, after=1, heartbeat_seconds=SLOW)
                assert (await anext(frames))[-1] == b"saga_completed"
                assert await notified is not None
                found = await waiting
                assert found is not None
                assert found.state.status is SagaStatus.COMPLETED
                await page.aclose()
