"""The contract of a saga log: requests to cancel, and what an operator does."""

from __future__ import annotations

import asyncio

import pytest
from uuid_utils import uuid7

from app.saga.model.errors import LogRefused, SagaFenced, SagaMoved
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange, SagaLog
from tests.contract.sagas import (
    AT,
    COMPLETED,
    LATER,
    begun,
    change,
    claimed,
    ended,
    loaded,
    started,
    succeeded,
    types,
)


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
    assert await log.request_cancel(saga.id, an_action()) == an_action()
    stored = await loaded(log, saga)
    assert (stored.cancel_request, stored.epoch, types(stored)) == (an_action(), 1, [EventType.SAGA_STARTED])
    assert (await loaded(log, other)).cancel_request is None
    assert await log.pending_cancellations("me") == {saga.id: an_action()}
    assert await log.pending_cancellations("another") == {}
    assert saga.id not in [one.saga.id for one in await claimed(log)]
    await log.append(saga.id, epoch=1, events=[succeeded(2)])


async def test_the_first_wish_stands(log: SagaLog) -> None:
    """Also where twenty people have one at once, and where the first is asked again."""
    saga = await begun(log)
    told = await asyncio.gather(*(log.request_cancel(saga.id, an_action(str(n))) for n in range(20)))
    assert len({one.who for one in told if one is not None}) == 1
    assert (await loaded(log, saga)).cancel_request == told[0]
    assert await log.request_cancel(saga.id, an_action("later")) == told[0]


@pytest.mark.parametrize("status", sorted(set(SagaStatus) - {SagaStatus.RUNNING}))
async def test_only_a_running_saga_takes_a_wish(log: SagaLog, status: SagaStatus) -> None:
    """What goes back is on its way already, and what rests has nothing to stop."""
    saga = await begun(log)
    due = AT if status is SagaStatus.COMPENSATING else None
    await log.append(saga.id, epoch=1, events=[succeeded(2)], change=change(status, due=due))
    assert await log.request_cancel(saga.id, an_action()) is None
    assert await log.request_cancel(str(uuid7()), an_action()) is None
    assert (await loaded(log, saga)).cancel_request is None


async def test_a_wish_about_a_saga_that_has_gone_on_is_refused(log: SagaLog) -> None:
    """Unless it is the very one that stands: its answer was lost, and it is asked again."""
    saga = await begun(log)
    await log.append(saga.id, epoch=1, events=[succeeded(2)])
    with pytest.raises(SagaMoved):
        await log.request_cancel(saga.id, an_action(), seen=1)
    assert await log.request_cancel(saga.id, an_action(), seen=2) == an_action()
    await log.append(saga.id, epoch=1, events=[succeeded(3)])
    assert await log.request_cancel(saga.id, an_action(), seen=2) == an_action()
    with pytest.raises(SagaMoved):
        await log.request_cancel(saga.id, an_action("b"), seen=2)


async def test_a_parked_saga_is_due_at_once_when_it_is_to_be_cancelled(log: SagaLog) -> None:
    """Whether the wish came after it was parked, or its owner parked it not knowing of the wish."""
    now = await log.renew("me", seconds=60)
    later = now + LATER
    after, before, hopeless, plain = [await begun(log) for _ in range(4)]
    for saga in (before, hopeless):
        assert await log.request_cancel(saga.id, an_action()) is not None
    for saga in (after, before, hopeless, plain):
        parked = RowChange(
            status=SagaStatus.RUNNING, next_action_at=later, park=True, cancellable=saga is not hopeless
        )
        await log.append(saga.id, epoch=1, events=[succeeded(2)], change=parked)
    assert await log.request_cancel(after.id, an_action()) is not None
    taken = await claimed(log)
    assert {one.saga.id for one in taken} == {after.id, before.id}, "one past its pivot isn't woken for it"
    assert {one.cancel_request for one in taken} == {an_action()}


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
    await log.request_cancel(saga.id, an_action())
    await log.append(saga.id, epoch=1, events=[ended(2)], change=change(SagaStatus.NEEDS_ATTENTION))
    await log.operate(saga.id, epoch=1, event=by_person(3), status=SagaStatus.RUNNING)
    assert (await loaded(log, saga)).cancel_request is None


async def test_a_late_write_of_the_old_owner_is_fenced_by_a_persons_action(log: SagaLog) -> None:
    """It owned the saga until that needed attention."""
    saga = await stuck(log)
    await log.operate(saga.id, epoch=1, event=by_person(3), status=SagaStatus.RUNNING)
    for seq in (3, 4):
        with pytest.raises(SagaFenced):
            await log.append(saga.id, epoch=1, events=[succeeded(seq)])
