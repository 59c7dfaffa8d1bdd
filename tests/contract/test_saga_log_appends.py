"""The contract of a saga log: an append is stored in order, once, and by the saga's owner alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from uuid_utils import uuid7

from app.saga.model.errors import LogRefused, SagaFenced
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange, SagaLog
from tests.contract.sagas import (
    AT,
    COMPLETED,
    begun,
    claimed,
    ended,
    loaded,
    started,
    succeeded,
    types,
)


async def test_several_events_are_stored_together_with_the_change(log: SagaLog) -> None:
    saga = await begun(log)
    await log.append(saga.id, epoch=1, events=[succeeded(2), ended(3)], change=COMPLETED)
    stored = await loaded(log, saga)
    assert stored.status is SagaStatus.COMPLETED
    assert stored.events == (started(), succeeded(2), ended(3))


async def test_the_same_append_twice_is_stored_once(log: SagaLog) -> None:
    """An append whose answer was lost in a broken connection can be sent again."""
    saga = await begun(log)
    for _ in range(2):
        await log.append(saga.id, epoch=1, events=[succeeded(2)])
    for _ in range(2):
        await log.append(saga.id, epoch=1, events=[succeeded(3), ended(4)], change=COMPLETED)
    assert [event.seq for event in (await loaded(log, saga)).events] == [1, 2, 3, 4]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("epoch", [0, 2])
async def test_another_epoch_is_fenced(log: SagaLog, epoch: int, several: bool) -> None:
    """Who doesn't own the saga stores nothing: neither event nor status."""
    saga = await begun(log)
    events = [succeeded(2), ended(3)] if several else [succeeded(2)]
    with pytest.raises(SagaFenced):
        await log.append(saga.id, epoch=epoch, events=events, change=COMPLETED if several else None)
    stored = await loaded(log, saga)
    assert (stored.status, stored.events) == (SagaStatus.RUNNING, (started(),))


@pytest.mark.parametrize("several", [False, True])
async def test_a_gap_is_never_stored(log: SagaLog, several: bool) -> None:
    """Who expects another end of the log has another saga in mind."""
    saga = await begun(log)
    events = [succeeded(3), ended(4)] if several else [succeeded(3)]
    with pytest.raises(SagaFenced):
        await log.append(saga.id, epoch=1, events=events, change=COMPLETED if several else None)
    stored = await loaded(log, saga)
    assert (stored.status, stored.events) == (SagaStatus.RUNNING, (started(),))


async def test_an_append_to_no_saga_is_fenced(log: SagaLog) -> None:
    with pytest.raises(SagaFenced):
        await log.append(str(uuid7()), epoch=1, events=[succeeded(2)])


@pytest.mark.parametrize(
    "events",
    [[], [succeeded(2), succeeded(4)], [succeeded(2), succeeded(3)], [succeeded(2, result=float("nan"))]],
)
async def test_what_is_no_append_is_refused(log: SagaLog, events: Sequence[SagaEvent]) -> None:
    """None at all, a hole, several without a change, and what isn't JSON."""
    saga = await begun(log)
    with pytest.raises(LogRefused):
        await log.append(saga.id, epoch=1, events=events)
    assert len((await loaded(log, saga)).events) == 1


async def test_a_refused_entry_leaves_its_neighbours_alone(log: SagaLog) -> None:
    """Whatever shares a batch with it is stored."""
    sagas = [await begun(log) for _ in range(5)]
    bad = succeeded(2, result={"set": {1}})
    appends = [
        log.append(s.id, epoch=1, events=[bad if n == 2 else succeeded(2)]) for n, s in enumerate(sagas)
    ]
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 2 + [LogRefused] + [type(None)] * 2
    assert [len((await loaded(log, saga)).events) for saga in sagas] == [2, 2, 1, 2, 2]


async def test_a_cancelled_appender_does_not_cancel_the_write(log: SagaLog) -> None:
    saga = await begun(log)
    task = asyncio.create_task(log.append(saga.id, epoch=1, events=[succeeded(2)]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await begun(log)  # written after it
    assert len((await loaded(log, saga)).events) == 2


async def test_many_sagas_at_once_each_keep_their_own_log(log: SagaLog) -> None:
    """Two hundred sagas share batches and nothing else."""

    async def live(number: int) -> NewSaga:
        saga = await begun(log, order_id=f"ord-{number}")
        await log.append(saga.id, epoch=1, events=[succeeded(2, result={"n": number})])
        await log.append(saga.id, epoch=1, events=[succeeded(3), ended(4)], change=COMPLETED)
        return saga

    for number, saga in enumerate(await asyncio.gather(*(live(n) for n in range(200)))):
        stored = await loaded(log, saga)
        assert [event.seq for event in stored.events] == [1, 2, 3, 4]
        assert stored.events[1].data == {"result": {"n": number}}


async def test_of_two_owners_in_one_batch_only_the_newer_is_stored(log: SagaLog) -> None:
    """A process that lost its saga and claimed it again writes both through one journal."""
    saga = await begun(log)
    await claimed(log)
    old, new = succeeded(3, result={"by": "old"}), succeeded(3, result={"by": "new"})
    results = await asyncio.gather(
        log.append(saga.id, epoch=1, events=[old]),
        log.append(saga.id, epoch=2, events=[new]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [SagaFenced, type(None)]
    assert (await loaded(log, saga)).events[2:] == (new,)


async def test_of_two_owners_ends_in_one_batch_only_the_newers_is_stored(log: SagaLog) -> None:
    """Not one event of the older's gets in beside the newer's, whose change the saga's row takes."""
    saga = await begun(log)
    await claimed(log)
    new = succeeded(3), ended(4)
    results = await asyncio.gather(
        log.append(saga.id, epoch=1, events=[succeeded(2), ended(3)], change=COMPLETED),
        log.append(saga.id, epoch=2, events=new, change=COMPLETED),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [SagaFenced, type(None)]
    assert (await loaded(log, saga)).events[2:] == new


async def test_an_append_that_was_stored_before_a_takeover_is_still_a_success(log: SagaLog) -> None:
    """Its answer was lost, it is sent again, and it did happen."""
    saga = await begun(log)
    await log.append(saga.id, epoch=1, events=[succeeded(2)])
    await claimed(log)
    before = await loaded(log, saga)
    await log.append(saga.id, epoch=1, events=[succeeded(2)])
    assert await loaded(log, saga) == before


@pytest.mark.parametrize("several", [False, True])
async def test_an_append_and_a_takeover_at_once_leave_one_gap_free_trail(log: SagaLog, several: bool) -> None:
    """Whichever comes first, the other sees it: stored before the takeover, or fenced by it."""
    for _ in range(10):
        saga = await begun(log, owner="dead")
        events = [succeeded(2), ended(3)] if several else [succeeded(2)]
        appended, taken = await asyncio.gather(
            log.append(saga.id, epoch=1, events=events, change=COMPLETED if several else None),
            claimed(log),
            return_exceptions=True,
        )
        stored = await loaded(log, saga)
        assert [event.seq for event in stored.events] == list(range(1, len(stored.events) + 1))
        assert (EventType.STEP_SUCCEEDED in types(stored)) == (appended is None)
        assert appended is None or isinstance(appended, SagaFenced)
        assert not isinstance(taken, BaseException)
        assert [one.saga.id for one in taken] == ([saga.id] if stored.epoch == 2 else [])
        await log.abandon(saga.id, epoch=stored.epoch, until=datetime(2999, 1, 1, tzinfo=UTC))


async def test_of_several_events_none_is_stored_where_one_can_not_be(log: SagaLog) -> None:
    """All or none, and the status stays with them."""
    saga = await begun(log)
    with pytest.raises(LogRefused):
        await log.append(
            saga.id, epoch=1, events=[succeeded(2), succeeded(3, result=float("inf"))], change=COMPLETED
        )
    stored = await loaded(log, saga)
    assert (stored.status, stored.events) == (SagaStatus.RUNNING, (started(),))


IMPOSSIBLE = [
    pytest.param(RowChange(status=SagaStatus.COMPLETED, next_action_at=None), id="completed without a time"),
    pytest.param(RowChange(status=SagaStatus.COMPENSATING, next_action_at=None), id="unfinished, never due"),
    pytest.param(
        RowChange(status=SagaStatus.NEEDS_ATTENTION, next_action_at=None, finished_at=AT),
        id="attended, finished",
    ),
]


@pytest.mark.parametrize("impossible", IMPOSSIBLE)
async def test_a_change_that_contradicts_itself_is_refused(log: SagaLog, impossible: RowChange) -> None:
    """A final status has its time, an unfinished saga is due at some time: in every log, not in two of three."""
    saga = await begun(log)
    with pytest.raises(LogRefused):
        await log.append(saga.id, epoch=1, events=[succeeded(2)], change=impossible)
    stored = await loaded(log, saga)
    assert (stored.status, stored.events) == (SagaStatus.RUNNING, (started(),))


async def test_what_only_the_database_refuses_leaves_its_neighbours_alone(log: SagaLog) -> None:
    """It passes every check before the batch, and fails in it; whatever shares the batch is stored."""
    sagas = [await begun(log) for _ in range(5)]
    bad = RowChange(status=SagaStatus.COMPLETED, next_action_at=None)
    results = await asyncio.gather(
        *(
            log.append(s.id, epoch=1, events=[succeeded(2)], change=bad if n == 2 else None)
            for n, s in enumerate(sagas)
        ),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None)] * 2 + [LogRefused] + [type(None)] * 2
    assert [len((await loaded(log, saga)).events) for saga in sagas] == [2, 2, 1, 2, 2]
