"""The contract of a saga log: a saga is stored once, and comes back as it was."""

from __future__ import annotations

import asyncio

import pytest
from uuid_utils import uuid7

from app.saga.model.errors import LogRefused
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import BusinessKeyConflict, IdempotencyConflict, SagaLog, Stored
from tests.contract.sagas import (
    AT,
    a_saga,
    begun,
    change,
    ended,
    loaded,
    started,
    succeeded,
)


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
