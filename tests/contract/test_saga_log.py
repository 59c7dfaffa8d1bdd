"""The contract of a saga log: memory, SQLite and PostgreSQL pass the same cases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from uuid_utils import uuid7

from app.saga.model.errors import LeaseLost, LogRefused, LogUnreadable, SagaFenced, SagaMoved
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import SagaStatus
from app.saga.ports.log import (
    BusinessKeyConflict,
    IdempotencyConflict,
    NewSaga,
    RowChange,
    SagaLog,
    Stored,
    StoredSaga,
)
from app.saga.ports.memory_log import MemoryLog
from app.storage import open_storage
from tests.pgbouncer import DATABASES

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = timedelta(hours=1)
ONE = [("one", 1)]


@pytest.fixture(params=["memory", *DATABASES])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[SagaLog]:
    """Give each implementation in turn, empty."""
    if request.param == "memory":
        yield MemoryLog()
        return
    urls = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "pooled": "pooled_url"}
    url = request.getfixturevalue(urls[request.param])
    async with open_storage(url) as storage:
        yield storage.log


def a_saga(**members: Any) -> NewSaga:
    """Return a new saga that is valid unless told otherwise."""
    return NewSaga(**{"id": str(uuid7()), "definition": "one", "version": 1, **members})


def started(at: datetime = AT) -> SagaEvent:
    return SagaEvent(seq=1, at=at, type=EventType.SAGA_STARTED)


def succeeded(seq: int, **data: Any) -> SagaEvent:
    return SagaEvent(seq=seq, at=AT, type=EventType.STEP_SUCCEEDED, step=f"step-{seq}", attempt=1, data=data)


def ended(seq: int, how: EventType = EventType.SAGA_COMPLETED) -> SagaEvent:
    return SagaEvent(seq=seq, at=AT, type=how)


def change(status: SagaStatus, *, due: datetime | None = None, park: bool = False) -> RowChange:
    final = status in {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}
    return RowChange(status=status, next_action_at=due, finished_at=AT if final else None, park=park)


COMPLETED = change(SagaStatus.COMPLETED)


async def begun(log: SagaLog, *, owner: str = "me", **members: Any) -> NewSaga:
    saga = a_saga(**members)
    assert await log.start(saga, started(), owner=owner) == Stored()
    return saga


async def loaded(log: SagaLog, saga: NewSaga) -> StoredSaga:
    stored = await log.load(saga.id)
    assert stored is not None
    return stored


async def claimed(log: SagaLog, *, owner: str = "other", limit: int = 100) -> list[StoredSaga]:
    return await log.claim(owner=owner, definitions=ONE, limit=limit)


def types(stored: StoredSaga) -> list[EventType]:
    return [event.type for event in stored.events]


# ── starting ──────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_stored_comes_back_as_it_was(log: SagaLog) -> None:
    """To the microsecond, with every member, nested and in any script."""
    data = {"result": {"id": "π-🚚-\u0000", "deep": [{"n": 1, "x": 1.5, "none": None, "yes": True}]}}
    saga = await begun(
        log,
        caller="shop",
        idempotency_key="key",
        fingerprint="f" * 64,
        order_id="ord-é-🛒",
        customer_id="cus-1",
        request_id="req-1",
        input={"amount": 3998, "note": "naïve ✓", "none": None},
    )
    await log.append(saga.id, epoch=1, events=[succeeded(2, **data)])
    stored = await loaded(log, saga)
    assert stored.saga == saga
    assert stored.events == (started(), succeeded(2, **data))
    assert (stored.status, stored.epoch) == (SagaStatus.RUNNING, 1)


async def test_an_unknown_saga_is_none(log: SagaLog) -> None:
    assert await log.load(str(uuid7())) is None


async def test_the_same_start_twice_is_one_saga(log: SagaLog) -> None:
    """A start whose answer was lost can be sent again."""
    saga = await begun(log, idempotency_key="key", order_id="ord-1")
    assert await log.start(saga, started(), owner="me") == Stored()
    assert len((await loaded(log, saga)).events) == 1


async def test_a_key_belongs_to_one_saga_of_its_caller(log: SagaLog) -> None:
    """The other gets to know whose it is and for which request; another caller's key is another key."""
    first = await begun(log, caller="a", idempotency_key="key", fingerprint="f1")
    second = a_saga(caller="a", idempotency_key="key", fingerprint="f2")
    assert await log.start(second, started(), owner="me") == IdempotencyConflict(
        saga_id=first.id, fingerprint="f1"
    )
    assert await log.load(second.id) is None
    await begun(log, caller="b", idempotency_key="key")


@pytest.mark.parametrize("status", [s for s in SagaStatus if s is not SagaStatus.COMPENSATED])
async def test_an_order_belongs_to_one_saga_that_is_not_compensated(log: SagaLog, status: SagaStatus) -> None:
    """Under way, completed or waiting for a person: a second one is told which."""
    first = await begun(log, caller="a", order_id="ord-1")
    if status is not SagaStatus.RUNNING:
        due = AT if status is SagaStatus.COMPENSATING else None
        await log.append(first.id, epoch=1, events=[succeeded(2)], change=change(status, due=due))
    second = a_saga(caller="a", order_id="ord-1")
    assert await log.start(second, started(), owner="me") == BusinessKeyConflict(
        saga_id=first.id, status=status
    )
    assert await log.load(second.id) is None
    await begun(log, caller="b", order_id="ord-1")


async def test_after_a_compensated_saga_its_order_is_free(log: SagaLog) -> None:
    first = await begun(log, order_id="ord-1")
    end = ended(2, EventType.SAGA_COMPENSATED)
    await log.append(first.id, epoch=1, events=[end], change=change(SagaStatus.COMPENSATED))
    await begun(log, order_id="ord-1")


async def test_a_repeated_key_counts_before_its_order(log: SagaLog) -> None:
    """A repeat is a repeat, not a second checkout of the order."""
    first = await begun(log, idempotency_key="key", fingerprint="f", order_id="ord-1")
    repeat = a_saga(idempotency_key="key", fingerprint="f", order_id="ord-1")
    assert await log.start(repeat, started(), owner="me") == IdempotencyConflict(
        saga_id=first.id, fingerprint="f"
    )


@pytest.mark.parametrize("member", ["idempotency_key", "order_id"])
async def test_of_twenty_starts_at_once_one_is_started(log: SagaLog, member: str) -> None:
    """Two tabs, a double click, a retry that overtakes: one saga."""
    sagas = [a_saga(**{member: "the same"}) for _ in range(20)]
    results = await asyncio.gather(*(log.start(saga, started(), owner="me") for saga in sagas))
    winners = [saga for saga, result in zip(sagas, results, strict=True) if result == Stored()]
    assert len(winners) == 1
    assert {r.saga_id for r in results if isinstance(r, IdempotencyConflict | BusinessKeyConflict)} == {
        winners[0].id
    }


@pytest.mark.parametrize("text", ["nul\0", "lone \ud800"])
@pytest.mark.parametrize("member", ["caller", "idempotency_key", "order_id", "customer_id", "request_id"])
async def test_text_that_no_database_holds_is_refused(log: SagaLog, member: str, text: str) -> None:
    with pytest.raises(LogRefused):
        await log.start(a_saga(**{member: text}), started(), owner="me")


# ── appending ─────────────────────────────────────────────────────────────────────────────────────


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


# ── leases and claims ─────────────────────────────────────────────────────────────────────────────


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


# ── at the edges ──────────────────────────────────────────────────────────────────────────────────


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


@pytest.mark.parametrize("text", ["nul\0", "lone \ud800"])
async def test_no_other_text_that_no_database_holds_is_taken(log: SagaLog, text: str) -> None:
    """A fingerprint, a definition's name and a step's name are columns too."""
    for members in ({"fingerprint": text}, {"definition": text}):
        with pytest.raises(LogRefused):
            await log.start(a_saga(**members), started(), owner="me")
    saga = await begun(log)
    with pytest.raises(LogRefused):
        await log.append(
            saga.id, epoch=1, events=[SagaEvent(seq=2, at=AT, type=EventType.STEP_SUCCEEDED, step=text)]
        )


async def test_what_is_stored_is_a_copy(log: SagaLog) -> None:
    """Neither who gave it nor who read it can rewrite the trail afterwards."""
    given = {"items": ["shirt"]}
    saga = await begun(log, input=given)
    event = succeeded(2, result={"lines": [1]})
    await log.append(saga.id, epoch=1, events=[event])
    given["items"].append("junk")
    event.data["result"]["lines"].append(2)
    read = await loaded(log, saga)
    read.saga.input["items"].append("more junk")
    stored = await loaded(log, saga)
    assert stored.saga.input == {"items": ["shirt"]}
    assert stored.events[1].data == {"result": {"lines": [1]}}


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


# ── what a person does ────────────────────────────────────────────────────────────────────────────


def an_action(name: str = "a") -> OperatorAction:
    return OperatorAction(id=f"id-{name}", who=name, reason="So.", at=AT, reference=None)


def by_person(seq: int, name: str = "a", what: EventType = EventType.RETRY_REQUESTED) -> SagaEvent:
    return SagaEvent(seq=seq, at=AT, type=what, data=an_action(name).data())


async def stuck(log: SagaLog) -> NewSaga:
    """Return a saga of two events that needs attention."""
    saga = await begun(log)
    await log.append(saga.id, epoch=1, events=[ended(2)], change=change(SagaStatus.NEEDS_ATTENTION))
    return saga


async def test_a_wish_to_cancel_waits_for_the_sagas_owner(log: SagaLog) -> None:
    """It changes neither the trail nor the epoch, and nobody takes the saga from a living owner for it."""
    await log.renew("me", seconds=60)
    saga, other = await begun(log), await begun(log, owner="another")
    assert await log.want_cancel(saga.id, an_action()) == an_action()
    stored = await loaded(log, saga)
    assert (stored.cancel, stored.epoch, types(stored)) == (an_action(), 1, [EventType.SAGA_STARTED])
    assert (await loaded(log, other)).cancel is None
    assert await log.wishes("me") == {saga.id: an_action()}
    assert await log.wishes("another") == {}
    assert saga.id not in [one.saga.id for one in await claimed(log)]
    await log.append(saga.id, epoch=1, events=[succeeded(2)])


async def test_the_first_wish_stands(log: SagaLog) -> None:
    """Also where twenty people have one at once, and where the first is asked again."""
    saga = await begun(log)
    told = await asyncio.gather(*(log.want_cancel(saga.id, an_action(str(n))) for n in range(20)))
    assert len({one.who for one in told if one is not None}) == 1
    assert (await loaded(log, saga)).cancel == told[0]
    assert await log.want_cancel(saga.id, an_action("later")) == told[0]


@pytest.mark.parametrize("status", sorted(set(SagaStatus) - {SagaStatus.RUNNING}))
async def test_only_a_running_saga_takes_a_wish(log: SagaLog, status: SagaStatus) -> None:
    """What goes back is on its way already, and what rests has nothing to stop."""
    saga = await begun(log)
    due = AT if status is SagaStatus.COMPENSATING else None
    await log.append(saga.id, epoch=1, events=[succeeded(2)], change=change(status, due=due))
    assert await log.want_cancel(saga.id, an_action()) is None
    assert await log.want_cancel(str(uuid7()), an_action()) is None
    assert (await loaded(log, saga)).cancel is None


async def test_a_wish_about_a_saga_that_has_gone_on_is_refused(log: SagaLog) -> None:
    """Unless it is the very one that stands: its answer was lost, and it is asked again."""
    saga = await begun(log)
    await log.append(saga.id, epoch=1, events=[succeeded(2)])
    with pytest.raises(SagaMoved):
        await log.want_cancel(saga.id, an_action(), seen=1)
    assert await log.want_cancel(saga.id, an_action(), seen=2) == an_action()
    await log.append(saga.id, epoch=1, events=[succeeded(3)])
    assert await log.want_cancel(saga.id, an_action(), seen=2) == an_action()
    with pytest.raises(SagaMoved):
        await log.want_cancel(saga.id, an_action("b"), seen=2)


async def test_a_parked_saga_is_due_at_once_when_it_is_to_be_cancelled(log: SagaLog) -> None:
    """Whether the wish came after it was parked, or its owner parked it not knowing of the wish."""
    now = await log.renew("me", seconds=60)
    later = now + LATER
    after, before, hopeless, plain = [await begun(log) for _ in range(4)]
    for saga in (before, hopeless):
        assert await log.want_cancel(saga.id, an_action()) is not None
    for saga in (after, before, hopeless, plain):
        parked = RowChange(
            status=SagaStatus.RUNNING, next_action_at=later, park=True, cancellable=saga is not hopeless
        )
        await log.append(saga.id, epoch=1, events=[succeeded(2)], change=parked)
    assert await log.want_cancel(after.id, an_action()) is not None
    taken = await claimed(log)
    assert {one.saga.id for one in taken} == {after.id, before.id}, "one past its pivot isn't woken for it"
    assert {one.cancel for one in taken} == {an_action()}


async def test_a_person_makes_a_saga_go_on_that_needs_attention(log: SagaLog) -> None:
    """Under a new epoch, with no owner, and due at once: it is claimed as what was given back, not as a dead one's."""
    await log.renew("me", seconds=60)
    saga = await stuck(log)
    await log.operate(saga.id, epoch=1, event=by_person(3), status=SagaStatus.COMPENSATING)
    stored = await loaded(log, saga)
    assert (stored.status, stored.epoch) == (SagaStatus.COMPENSATING, 2)
    assert stored.events == (started(), ended(2), by_person(3))
    (taken,) = await claimed(log)
    assert (taken.epoch, taken.events) == (3, stored.events)
    await log.append(saga.id, epoch=3, events=[succeeded(4), ended(5)], change=COMPLETED)


async def test_of_two_people_at_once_one_wins(log: SagaLog) -> None:
    """The same epoch and seq from another person is not the same write again."""
    for _ in range(5):
        saga = await stuck(log)
        people = [str(n) for n in range(5)]
        told = await asyncio.gather(
            *(
                log.operate(saga.id, epoch=1, event=by_person(3, name), status=SagaStatus.RUNNING)
                for name in people
            ),
            return_exceptions=True,
        )
        winners = [name for name, answer in zip(people, told, strict=True) if answer is None]
        assert len(winners) == 1
        assert {type(answer) for answer in told} == {type(None), SagaMoved}
        stored = await loaded(log, saga)
        assert [event.data.get("who") for event in stored.events] == [None, None, winners[0]]


async def test_an_action_is_not_stored_twice(log: SagaLog) -> None:
    """Written again it is refused, and the log tells by its id that it stands."""
    saga = await stuck(log)
    await log.operate(saga.id, epoch=1, event=by_person(3), status=SagaStatus.RUNNING)
    before = await loaded(log, saga)
    for epoch, seq in ((1, 3), (2, 4)):
        with pytest.raises(SagaMoved):
            await log.operate(saga.id, epoch=epoch, event=by_person(seq), status=SagaStatus.RUNNING)
    assert await loaded(log, saga) == before


async def test_only_what_needs_attention_is_operated_on(log: SagaLog) -> None:
    saga = await begun(log)
    for epoch, seq in ((1, 2), (2, 2), (1, 1)):
        with pytest.raises(SagaMoved):
            await log.operate(saga.id, epoch=epoch, event=by_person(seq), status=SagaStatus.RUNNING)
    with pytest.raises(SagaMoved):
        await log.operate(str(uuid7()), epoch=1, event=by_person(3), status=SagaStatus.RUNNING)
    stuck_one = await stuck(log)
    for seq in (2, 4):
        with pytest.raises(SagaMoved):
            await log.operate(stuck_one.id, epoch=1, event=by_person(seq), status=SagaStatus.RUNNING)
    with pytest.raises(LogRefused):
        await log.operate(stuck_one.id, epoch=1, event=by_person(3), status=SagaStatus.COMPLETED)
    assert types(await loaded(log, saga)) == [EventType.SAGA_STARTED]


async def test_an_old_wish_does_not_outlive_what_a_person_did_later(log: SagaLog) -> None:
    """Who has it tried again doesn't want it cancelled by what somebody wanted before it stopped."""
    saga = await begun(log)
    await log.want_cancel(saga.id, an_action())
    await log.append(saga.id, epoch=1, events=[ended(2)], change=change(SagaStatus.NEEDS_ATTENTION))
    await log.operate(saga.id, epoch=1, event=by_person(3), status=SagaStatus.RUNNING)
    assert (await loaded(log, saga)).cancel is None


async def test_a_late_write_of_the_old_owner_is_fenced_by_a_persons_action(log: SagaLog) -> None:
    """It owned the saga until that needed attention."""
    saga = await stuck(log)
    await log.operate(saga.id, epoch=1, event=by_person(3), status=SagaStatus.RUNNING)
    for seq in (3, 4):
        with pytest.raises(SagaFenced):
            await log.append(saga.id, epoch=1, events=[succeeded(seq)])
