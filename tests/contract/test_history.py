"""The past as the databases tell it, for the page: the same on either."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange
from app.saga.ports.queries import DURATION_EDGES, SagaFilter
from app.storage import Storage, open_storage
from app.storage.sagas.first_id import first_id
from app.storage.sagas.statistics import SqlStatistics
from tests.builders import NOON, an_id

MINUTE = timedelta(minutes=1)


async def a_saga(
    storage: Storage,
    begin: datetime,
    *,
    seconds: float | None = None,
    status: SagaStatus = SagaStatus.COMPLETED,
    caller: str = "",
    failed: str | None = None,
) -> str:
    """Store a saga that began then, and was finished after so many seconds."""
    saga_id = first_id(begin)[:24] + an_id()[24:]
    event = SagaEvent(seq=1, at=begin, type=EventType.SAGA_STARTED)
    new = NewSaga(id=saga_id, definition="one", version=1, caller=caller)
    await storage.log.start(new, event, owner="me")
    if failed is not None:
        event = SagaEvent(seq=2, at=begin, type=EventType.STEP_FAILED, step=failed)
        await storage.log.append(saga_id, epoch=1, events=[event])
    if seconds is not None:
        end = EventType.SAGA_COMPLETED if status is SagaStatus.COMPLETED else EventType.SAGA_COMPENSATED
        at = begin + timedelta(seconds=seconds)
        change = RowChange(status=status, next_action_at=None, finished_at=at)
        events = [SagaEvent(seq=2 if failed is None else 3, at=at, type=end)]
        await storage.log.append(saga_id, epoch=1, events=events, change=change)
    return saga_id


async def test_sagas_are_counted_by_minute_status_and_duration(database_url: str) -> None:
    """From the first minute on, before the last; bounds are whole minutes."""
    async with open_storage(database_url) as storage:
        await a_saga(storage, NOON - timedelta(microseconds=1000), seconds=1)
        await a_saga(storage, NOON, seconds=0.04)
        await a_saga(storage, NOON + timedelta(seconds=59.999), seconds=0.04)
        await a_saga(storage, NOON + timedelta(seconds=30), seconds=40_000, status=SagaStatus.COMPENSATED)
        await a_saga(storage, NOON + MINUTE)
        await a_saga(storage, NOON + 2 * MINUTE, seconds=1)
        history = SqlStatistics(storage.log)
        found = await history.counts_by_minute(after=NOON, before=NOON + 2 * MINUTE, caller=None)
        assert {(one.minute, one.status, one.duration_bucket, one.sagas) for one in found} == {
            (NOON, SagaStatus.COMPLETED, DURATION_EDGES.index(0.05), 2),
            (NOON, SagaStatus.COMPENSATED, len(DURATION_EDGES), 1),
            (NOON + MINUTE, SagaStatus.RUNNING, None, 1),
        }


async def test_a_caller_is_told_of_its_own(database_url: str) -> None:
    """Counts too."""
    async with open_storage(database_url) as storage:
        await a_saga(storage, NOON, caller="shop")
        await a_saga(storage, NOON, caller="rival")
        history = SqlStatistics(storage.log)
        found = await history.counts_by_minute(after=NOON, before=NOON + MINUTE, caller="shop")
        assert sum(one.sagas for one in found) == 1
        assert (await history.unfinished(caller="shop"))[SagaStatus.RUNNING] == 1
        assert (await history.unfinished(caller=None))[SagaStatus.RUNNING] == 2
        assert (await history.unfinished(caller="nobody"))[SagaStatus.RUNNING] == 0


async def test_the_newest_is_the_one_that_began_last(database_url: str) -> None:
    """None where there is none."""
    async with open_storage(database_url) as storage:
        history = SqlStatistics(storage.log)
        assert await history.newest() is None
        last = await a_saga(storage, NOON + MINUTE)
        await a_saga(storage, NOON)
        assert await history.newest() == last


async def test_a_list_is_bounded_by_when_the_sagas_began_and_not_by_their_ids(database_url: str) -> None:
    """An id may be a little older than its saga; the ends of time are bounds like others."""
    async with open_storage(database_url) as storage:
        early = await a_saga(storage, NOON, seconds=1)
        late_id = first_id(NOON + MINUTE)
        event = SagaEvent(seq=1, at=NOON + MINUTE + timedelta(seconds=4), type=EventType.SAGA_STARTED)
        await storage.log.start(NewSaga(id=late_id, definition="one", version=1), event, owner="me")

        async def listed(after: datetime | None = None, until: datetime | None = None) -> list[str]:
            wanted = SagaFilter(created_after=after, created_before=until)
            found = await storage.queries.list_sagas(wanted, before=None, limit=10)
            return [one.saga.id for one in found]

        between = NOON + MINUTE + timedelta(seconds=3)
        assert await listed(after=between) == [late_id]
        assert await listed(until=between) == [early]
        assert await listed(after=NOON) == [late_id, early]
        assert await listed(after=NOON + timedelta(microseconds=1)) == [late_id]
        assert await listed(until=NOON) == []
        assert await listed(until=NOON + timedelta(microseconds=1)) == [early]
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        assert await listed(first, last) == [late_id, early]


async def test_a_list_can_be_of_those_that_failed_at_a_step(database_url: str) -> None:
    """That step, and no other."""
    async with open_storage(database_url) as storage:
        failed = await a_saga(storage, NOON, failed="inventory")
        await a_saga(storage, NOON, failed="payment")
        await a_saga(storage, NOON, seconds=1)
        wanted = SagaFilter(failing_step="inventory")
        listed = await storage.queries.list_sagas(wanted, before=None, limit=10)
        assert [one.saga.id for one in listed] == [failed]
