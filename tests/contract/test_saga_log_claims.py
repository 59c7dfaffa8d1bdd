"""The contract of a saga log: leases, and whose sagas are claimed by another owner."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.saga.model.errors import LeaseLost, LogUnreadable, SagaFenced
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import SagaLog
from app.storage import open_storage
from tests.contract.sagas import (
    AT,
    COMPLETED,
    LATER,
    ONE,
    a_saga,
    begun,
    change,
    claimed,
    ended,
    loaded,
    started,
    succeeded,
    types,
)


async def test_nobody_takes_a_saga_over_while_its_owner_lives(log: SagaLog) -> None:
    await log.renew("me", seconds=60)
    await begun(log)
    assert await claimed(log) == []


async def test_a_dead_owners_saga_is_taken_over_under_a_new_epoch(log: SagaLog) -> None:
    """The trail says so, under the very number that the old owner would use next."""
    await log.renew("me", seconds=60)
    saga = await begun(log)
    await log.append(saga.id, epoch=1, events=[succeeded(2)])
    await log.release("me")
    (taken,) = await claimed(log)
    assert (taken.saga, taken.epoch) == (saga, 2)
    assert types(taken) == [EventType.SAGA_STARTED, EventType.STEP_SUCCEEDED, EventType.SAGA_RECOVERED]
    assert taken == await loaded(log, saga)


async def test_a_lapsed_lease_is_as_good_as_none(log: SagaLog) -> None:
    await log.renew("me", seconds=0)
    saga = await begun(log)
    assert [one.saga for one in await claimed(log)] == [saga]


async def test_a_lapsed_lease_cannot_be_renewed(log: SagaLog) -> None:
    """A process that slept comes back as another owner."""
    await log.renew("me", seconds=-1)
    with pytest.raises(LeaseLost):
        await log.renew("me", seconds=60)
    await log.renew("me again", seconds=60)


async def test_renewing_tells_the_logs_own_time(log: SagaLog) -> None:
    first, second = await log.renew("me", seconds=60), await log.renew("me", seconds=60)
    assert first.tzinfo is not None
    assert first <= second


async def test_a_lease_is_seen_by_who_reads_the_saga(log: SagaLog) -> None:
    """An operator sees until when somebody is at it."""
    now = await log.renew("me", seconds=60)
    assert (await loaded(log, await begun(log))).lease_expires_at == now + timedelta(seconds=60)


@pytest.mark.parametrize("several", [False, True])
async def test_the_old_owner_is_fenced(log: SagaLog, several: bool) -> None:
    """A woken zombie changes nothing: not with the number that was taken, not with the next."""
    saga = await begun(log)
    await claimed(log)
    before = await loaded(log, saga)
    for seq in (2, 3):
        events = [succeeded(seq), ended(seq + 1)] if several else [succeeded(seq)]
        with pytest.raises(SagaFenced):
            await log.append(saga.id, epoch=1, events=events, change=COMPLETED if several else None)
    assert await loaded(log, saga) == before
    await log.append(saga.id, epoch=2, events=[succeeded(3)])


async def test_two_claims_at_once_never_take_the_same_saga(log: SagaLog) -> None:
    for name in ("r0", "r1"):
        await log.renew(name, seconds=60)
    sagas = {(await begun(log, owner="dead")).id for _ in range(20)}
    both = await asyncio.gather(claimed(log, owner="r0", limit=15), claimed(log, owner="r1", limit=15))
    rest = await claimed(log, owner="r0")
    taken = [one.saga.id for claim in (*both, rest) for one in claim]
    assert sorted(taken) == sorted(sagas)


async def test_a_parked_saga_is_claimed_when_it_is_due_and_not_before(log: SagaLog) -> None:
    """It was given back in good order: a new epoch, and no takeover in its trail."""
    await log.renew("me", seconds=60)
    now = await log.renew("me", seconds=60)
    due, waiting = await begun(log), await begun(log)
    for saga, until in ((due, now), (waiting, now + LATER)):
        park = change(SagaStatus.COMPENSATING, due=until, park=True)
        await log.append(saga.id, epoch=1, events=[succeeded(2)], change=park)
    (taken,) = await claimed(log)
    assert (taken.saga, taken.epoch) == (due, 2)
    assert EventType.SAGA_RECOVERED not in types(taken)


@pytest.mark.parametrize("status", [SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.NEEDS_ATTENTION])
async def test_a_saga_at_rest_is_never_claimed(log: SagaLog, status: SagaStatus) -> None:
    saga = await begun(log, owner="dead")
    await log.append(saga.id, epoch=1, events=[ended(2)], change=change(status))
    assert await claimed(log) == []


async def test_a_claim_takes_what_has_been_due_longest_up_to_its_limit(log: SagaLog) -> None:
    sagas = [a_saga() for _ in range(4)]
    for hours, saga in zip((2, 4, 1, 3), sagas, strict=True):
        await log.start(saga, started(AT - hours * LATER), owner="dead")
    taken = await claimed(log, limit=2)
    assert [one.saga for one in taken] == [sagas[1], sagas[3]]
    assert await log.claim(owner="other", definitions=ONE, limit=0) == []


async def test_a_claim_leaves_definitions_that_it_does_not_know(log: SagaLog) -> None:
    newer = await begun(log, owner="dead", version=2)
    assert await claimed(log) == []
    taken = await log.claim(owner="other", definitions=[("one", 2), ("two", 1)], limit=9)
    assert [one.saga for one in taken] == [newer]


async def test_an_abandoned_saga_is_taken_over_from_its_time_on(log: SagaLog) -> None:
    """As a dead owner's, since what it was doing may have had an effect."""
    now = await log.renew("me", seconds=60)
    now_due, later = await begun(log), await begun(log)
    await log.abandon(now_due.id, epoch=1, until=now)
    await log.abandon(later.id, epoch=1, until=now + LATER)
    (taken,) = await claimed(log)
    assert taken.saga == now_due
    assert types(taken)[-1] is EventType.SAGA_RECOVERED


async def test_only_its_owner_abandons_a_saga(log: SagaLog) -> None:
    now = await log.renew("me", seconds=60)
    saga = await begun(log)
    await log.abandon(saga.id, epoch=7, until=now)
    assert await claimed(log) == []


async def test_a_saga_in_living_hands_is_not_claimed_again(log: SagaLog) -> None:
    """Who took it over has it, while the lease of the new owner holds."""
    await log.renew("other", seconds=60)
    await begun(log, owner="dead")
    assert len(await claimed(log)) == 1
    assert await claimed(log, owner="third") == []


async def test_each_takeover_adds_an_epoch_and_a_line(log: SagaLog) -> None:
    """So that takeovers without progress can be counted."""
    saga = await begun(log, owner="dead")
    for epoch in (2, 3, 4):
        (taken,) = await claimed(log, owner="dead too")
        assert taken.epoch == epoch
    assert types(await loaded(log, saga)) == [EventType.SAGA_STARTED, *[EventType.SAGA_RECOVERED] * 3]


async def test_a_takeover_is_never_dated_before_what_it_follows(log: SagaLog) -> None:
    """The dead owner's clock may have been ahead."""
    saga = await begun(log, owner="dead")
    ahead = datetime(2999, 1, 1, tzinfo=UTC)
    await log.append(
        saga.id,
        epoch=1,
        events=[SagaEvent(seq=2, at=ahead, type=EventType.STEP_SUCCEEDED, step="a", attempt=1)],
    )
    (taken,) = await claimed(log)
    assert taken.events[-1].at == ahead


async def test_who_was_robbed_of_a_saga_can_not_abandon_it(log: SagaLog) -> None:
    """Its new owner goes on in peace."""
    await log.renew("other", seconds=60)
    saga = await begun(log, owner="dead")
    (taken,) = await claimed(log)
    await log.abandon(saga.id, epoch=1, until=AT)
    assert await claimed(log, owner="third") == []
    assert await loaded(log, saga) == taken


async def test_a_saga_at_rest_is_not_abandoned(log: SagaLog) -> None:
    """Nothing brings it back."""
    saga = await begun(log)
    await log.append(saga.id, epoch=1, events=[succeeded(2), ended(3)], change=COMPLETED)
    before = await loaded(log, saga)
    await log.abandon(saga.id, epoch=1, until=AT)
    assert await claimed(log) == []
    assert await loaded(log, saga) == before


async def test_suspects_are_left_for_last_and_taken_alone_at_last(log: SagaLog) -> None:
    """What takes its process down mustn't use up its neighbours' budget of takeovers."""
    suspects = [await begun(log, owner="dead") for _ in range(12)]
    assert [len(await claimed(log, owner="dead")) for _ in range(2)] == [12, 12]
    fresh = await begun(log, owner="dead")
    assert [one.saga.id for one in await claimed(log)] == [fresh.id]
    await log.renew("other", seconds=60)
    assert len(await claimed(log)) == 10, "twice without progress: ten at a time"
    assert len(await claimed(log)) == 2
    await log.release("other")
    await log.append(suspects[0].id, epoch=4, events=[succeeded(5)])
    assert [one.saga.id for one in await claimed(log, limit=1)] == [suspects[0].id], "it made progress"
    for saga in (suspects[0], fresh):
        stored = await loaded(log, saga)
        events = [succeeded(len(stored.events) + 1), ended(len(stored.events) + 2)]
        await log.append(saga.id, epoch=stored.epoch, events=events, change=COMPLETED)
    for _ in range(3):
        assert len(await claimed(log)) == 1, "thrice: alone"


async def test_a_log_that_cannot_be_read_holds_back_no_other(database_url: str) -> None:
    """A newer version's word is left to that version: it costs the saga no takeover, and the others nothing."""
    async with open_storage(database_url) as storage:
        log = storage.log
        strange, plain = await begun(log, owner="dead"), await begun(log, owner="dead")
        async with storage.engine.execution_options(writes=True).begin() as connection:
            await connection.execute(
                text("UPDATE saga_log SET event = 'from_the_future' WHERE saga_id = :id"), {"id": strange.id}
            )
        assert [one.saga.id for one in await claimed(log, owner="dead too")] == [plain.id]
        assert [one.saga.id for one in await claimed(log)] == [plain.id]
        with pytest.raises(LogUnreadable, match="from_the_future"):
            await log.load(strange.id)
