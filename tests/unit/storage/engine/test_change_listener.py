"""Changes that this process and others make are reported at once, and their loss never matters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from uuid_utils import uuid7

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.ports.changes import Change, ChangeKind, ChangeSource, NoChanges
from app.saga.ports.log import NewSaga, RowChange
from app.storage import Storage, open_storage
from app.storage.engine.change_listener import MAX_IDS, ChangeListener, decode_change, encode_change
from app.storage.engine.changes import LocalChanges
from app.storage.engine.database import Database

AT = datetime(2026, 11, 28, tzinfo=UTC)
SECONDS = 60.0


class Heard:
    """Collects changes, and waits for one."""

    def __init__(self, source: ChangeSource) -> None:
        self.changes: list[Change] = []
        self._source = source
        self._more = asyncio.Event()
        self.unsubscribe = source.subscribe(self._hear)

    def _hear(self, change: Change) -> None:
        self.changes.append(change)
        self._more.set()

    async def until(self, wanted: Callable[[Change], bool]) -> Change:
        """Return the first change that is wanted, and forget those up to it."""
        async with asyncio.timeout(SECONDS):
            while True:
                for at, change in enumerate(self.changes):
                    if wanted(change):
                        del self.changes[: at + 1]
                        return change
                self._more.clear()
                await self._more.wait()

    async def live(self) -> None:
        """Return once the source is live."""
        if not self._source.live:
            await self.anything()

    async def anything(self) -> None:
        """Return once any change may have been missed."""
        await self.until(lambda one: one.kind is ChangeKind.CANCELLATIONS and one.saga_ids is None)


async def a_running_saga(storage: Storage, *, owner: str = "me") -> str:
    saga_id = str(uuid7())
    started = SagaEvent(seq=1, at=AT, type=EventType.SAGA_STARTED)
    await storage.log.start(NewSaga(id=saga_id, definition="one", version=1), started, owner=owner)
    return saga_id


async def test_an_event_stored_by_another_process_is_reported_with_its_saga(postgres_url: str) -> None:
    """A client that waits at one replica for what another runs needn't wait for the next poll."""
    async with (
        open_storage(postgres_url, listen=True) as here,
        open_storage(postgres_url, listen=True) as there,
    ):
        heard, sender = Heard(here.changes), Heard(there.changes)
        await heard.live()
        await sender.live()
        saga_id = await a_running_saga(there)
        change = await heard.until(lambda one: one.saga_ids is not None)
        assert change == Change(kind=ChangeKind.EVENTS, saga_ids=frozenset({saga_id}), elsewhere=True)
        own = await sender.until(lambda one: one.saga_ids is not None)
        assert own == Change(kind=ChangeKind.EVENTS, saga_ids=frozenset({saga_id}))
        assert here.changes.live


async def test_a_cancellation_an_operators_action_and_a_released_lease_are_reported(
    postgres_url: str,
) -> None:
    """Each is announced in its own transaction, also by a process that doesn't listen itself."""
    action = OperatorAction(id=str(uuid7()), at=AT, who="op", reason="why")
    async with open_storage(postgres_url, listen=True) as here, open_storage(postgres_url) as there:
        heard = Heard(here.changes)
        await heard.live()
        saga_id = await a_running_saga(there)
        await there.log.request_cancel(saga_id, action)
        await heard.until(lambda one: one.kind is ChangeKind.CANCELLATIONS and one.elsewhere)
        attention = SagaEvent(seq=2, at=AT, type=EventType.SAGA_NEEDS_ATTENTION)
        change = RowChange(status=SagaStatus.NEEDS_ATTENTION, next_action_at=None)
        await there.log.append(saga_id, epoch=1, events=[attention], change=change)
        retried = SagaEvent(seq=3, at=AT, type=EventType.RETRY_REQUESTED, data=action.data())
        await there.log.operate(saga_id, epoch=1, event=retried, status=SagaStatus.RUNNING)
        await heard.until(lambda one: one.kind is ChangeKind.CLAIMABLE and one.elsewhere)
        await there.log.renew("them", seconds=10)
        await there.log.release("them")
        await heard.until(lambda one: one.kind is ChangeKind.CLAIMABLE and one.elsewhere)


async def test_a_connection_that_broke_is_made_again_and_then_anything_may_have_changed(
    postgres_url: str,
) -> None:
    """What was missed meanwhile isn't known, so every subscriber looks."""
    database = Database(postgres_url)
    async with open_storage(postgres_url, listen=True) as storage:
        heard = Heard(storage.changes)
        await heard.live()
        heard.changes.clear()
        link = await database.connect_postgres()
        ended = await link.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE '%pg_notify%' AND pid <> pg_backend_pid()"
        )
        await link.close()
        assert ended == 1
        await heard.anything()
        assert storage.changes.live


async def test_a_database_that_is_away_at_the_start_is_listened_to_later(postgres_url: str) -> None:
    """The service starts without it: only polling finds changes until then."""
    database, refused = Database(postgres_url), asyncio.Event()

    async def connect() -> object:
        if not refused.is_set():
            refused.set()
            raise ConnectionRefusedError
        return await database.connect_postgres()

    listener = ChangeListener(connect)  # type: ignore[arg-type]
    heard = Heard(listener)
    await listener.start()
    try:
        await refused.wait()
        assert not listener.live
        await heard.live()
        assert listener.live
    finally:
        await listener.stop()
    assert not listener.live


async def test_behind_a_pooler_nothing_is_listened_to(postgres_url: str) -> None:
    """There a LISTEN would hear nothing, and believe that nothing happens."""
    database, asked = Database(postgres_url), asyncio.Event()

    async def connect() -> object:
        link = await database.connect_postgres()
        link.pooled = True
        asked.set()
        return link

    listener = ChangeListener(connect)  # type: ignore[arg-type]
    await listener.start()
    try:
        await asked.wait()
        await asyncio.sleep(0)
        assert not listener.live
        listener.events_stored([str(uuid7())])
    finally:
        await listener.stop()


async def test_a_process_that_stops_announces_what_it_stored_last(postgres_url: str) -> None:
    """The end of the saga that finished last in the drain: whoever waits for it elsewhere needn't poll."""
    async with open_storage(postgres_url, listen=True) as here:
        heard = Heard(here.changes)
        await heard.live()
        async with open_storage(postgres_url, listen=True) as there:
            await Heard(there.changes).live()
            first = await a_running_saga(there)
            await heard.until(lambda one: first in (one.saga_ids or ()))
            last = await a_running_saga(there)  # within the time in which reports are held back
        await heard.until(lambda one: last in (one.saga_ids or ()))


async def test_on_sqlite_a_process_hears_of_what_it_stores_itself(sqlite_url: str) -> None:
    """Another process's changes are found by polling."""
    async with open_storage(sqlite_url, listen=True) as storage:
        heard = Heard(storage.changes)
        saga_id = await a_running_saga(storage)
        change = await heard.until(lambda one: one.kind is ChangeKind.EVENTS)
        assert change == Change(kind=ChangeKind.EVENTS, saga_ids=frozenset({saga_id}))
        assert not storage.changes.live


async def test_many_events_are_reported_together() -> None:
    """However many sagas move, subscribers are called a few times a second."""
    changes = LocalChanges()
    heard = Heard(changes)
    changes.events_stored(["a", "b"])
    changes.events_stored(["b", "c"])
    assert await heard.until(lambda _one: True) == Change(
        kind=ChangeKind.EVENTS, saga_ids=frozenset({"a", "b", "c"})
    )
    assert heard.changes == []


def test_a_subscriber_that_raises_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""
    changes, heard = LocalChanges(), list[Change]()
    changes.subscribe(lambda _change: 1 / 0)  # type: ignore[arg-type]
    unsubscribe = changes.subscribe(heard.append)
    changes.report(Change(kind=ChangeKind.CLAIMABLE))
    unsubscribe()
    unsubscribe()
    changes.report(Change(kind=ChangeKind.CLAIMABLE))
    assert heard == [Change(kind=ChangeKind.CLAIMABLE)]
    assert [record.message for record in caplog.records] == ["change_subscriber_failed"] * 2


def test_a_payload_is_what_it_was_made_of_and_fits() -> None:
    """PostgreSQL refuses 8,000 bytes: a change of too many sagas is one of any."""
    ids = frozenset(str(uuid7()) for _ in range(MAX_IDS))
    payload = encode_change("0123abcd", Change(kind=ChangeKind.EVENTS, saga_ids=ids))
    assert len(payload) < 8000
    assert decode_change("other", payload) == Change(kind=ChangeKind.EVENTS, saga_ids=ids, elsewhere=True)
    more = Change(kind=ChangeKind.EVENTS, saga_ids=ids | {str(uuid7())})
    assert decode_change("other", encode_change("me", more)) == Change(kind=ChangeKind.EVENTS, elsewhere=True)


@pytest.mark.parametrize("payload", ["me events", "", "other", "other newer", "other newer 1,2"])
def test_what_is_its_own_or_of_a_newer_release_is_ignored(payload: str) -> None:
    """It runs beside other releases during an update."""
    assert decode_change("me", payload) is None


def test_a_source_without_changes_can_be_subscribed_to() -> None:
    """Tests, and sagas kept in memory, need none."""
    source = NoChanges()
    assert not source.live
    source.subscribe(lambda _change: None)()
