"""Old sagas leave, on either database: what goes, what stays, and when."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app.checkout.redaction import CHECKOUT_REDACTION
from app.operations.retention import Retention, RetentionCounts
from app.saga import EventType, SagaEvent, SagaStatus, fold
from app.saga.model.errors import LogUnavailable
from app.saga.ports.log import IdempotencyConflict, NewSaga, RowChange, StoredSaga
from app.settings.webhook_endpoints import EventName
from app.storage import Storage, open_storage
from app.storage.engine.tables import (
    SCHEMA,
    outbox,
    retention_later,
    saga,
    saga_log,
    webhook_delivery,
    webhook_endpoint,
)
from app.storage.outbox.feed import OutboxEvent
from app.storage.retention.retention import SqlRetention
from app.storage.sagas.first_id import first_id
from tests.builders import (
    NOON,
    VirtualClock,
    a_definition,
    a_trail,
    an_error,
    an_event,
    by_person,
    compensated,
    failed,
    finished,
    settle,
    started,
    succeeded,
)

DAY = timedelta(days=1)
SECRETS = ("lovelace", "cus-ada", "rue-secrète", "tok_ada", "SKU-ROSES", "TRACK-ADA", "ada@example")
ORDER: dict[str, Any] = {
    "customer_id": "cus-ada",
    "currency": "EUR",
    "amount": 3998,
    "items": [{"sku": "SKU-ROSES", "quantity": 2, "unit_price": 1999}],
    "payment_method": "tok_ada",
    "shipping_address": {"name": "Ada lovelace", "line1": "1 rue-secrète", "city": "Paris"},
    "metadata": {"mail": "ada@example.com"},
}
PAID = succeeded("payment", payment_id="pay_1", amount=3998, currency="EUR", status="captured")
RESERVED = succeeded("inventory", reservation_id="res_1", status="reserved", note="for lovelace")
SHIPPED = succeeded("shipping", shipment_id="shp_1", status="booked", tracking_number="TRACK-ADA")
WELL = a_trail(started(), PAID, RESERVED, SHIPPED, finished())


def a_failure(step: str) -> SagaEvent:
    error = an_error(code="no_such_address", message="lovelace, 1 rue-secrète: unknown")
    return an_event(EventType.STEP_FAILED, step, attempt=1, data={"error": error, "duration_ms": 12.5})


UNDONE = a_trail(
    started(),
    PAID,
    by_person(EventType.CANCEL_REQUESTED, reference="TICKET-7"),
    a_failure("inventory"),
    compensated("payment"),
    finished(EventType.SAGA_COMPENSATED),
)


class Archive:
    """A database with sagas of any age, and what lets them leave."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.clock = VirtualClock()
        self.store = SqlRetention(storage.log, CHECKOUT_REDACTION)
        self._count = 0

    def retention(self, **members: Any) -> Retention:
        given: dict[str, Any] = {
            "clock": self.clock,
            "keep_data": 90 * DAY,
            "keep_sagas": None,
            "batch": 3,
            "pause_seconds": 1.0,
            **members,
        }
        return Retention(given.pop("store", self.store), **given)

    async def add(
        self,
        age: timedelta,
        trail: tuple[SagaEvent, ...] = WELL,
        status: SagaStatus = SagaStatus.COMPLETED,
        **members: Any,
    ) -> str:
        """Store a saga that began, and came to rest, so long ago."""
        self._count += 1
        begin = NOON - age
        saga_id = first_id(begin)[:19] + str(uuid.UUID(int=self._count))[19:]
        order_id = f"order-{self._count}"
        new = NewSaga(
            id=saga_id,
            definition="checkout",
            version=1,
            **{
                "input": {**ORDER, "order_id": order_id},
                "order_id": order_id,
                "customer_id": "cus-ada",
                "idempotency_key": f"key-{self._count}",
                "fingerprint": f"print-{self._count}",
                "request_id": "lovelace-1",
                **members,
            },
        )
        await self.storage.log.start(new, trail[0], owner="me")
        if trail[1:]:
            await self.rest(saga_id, begin, trail[1:], status)
        return saga_id

    async def rest(
        self, saga_id: str, at: datetime, events: tuple[SagaEvent, ...], status: SagaStatus
    ) -> None:
        """Append how a saga came to rest."""
        over = at if status in {SagaStatus.COMPLETED, SagaStatus.COMPENSATED} else None
        change = RowChange(status=status, next_action_at=None, finished_at=over)
        await self.storage.log.append(saga_id, epoch=1, events=events, change=change)

    async def stored(self, saga_id: str) -> StoredSaga:
        found = await self.storage.log.load(saga_id)
        assert found is not None
        return found

    async def redacted(self, *ids: str) -> list[bool]:
        return ["redacted" in (await self.stored(saga_id)).saga.input for saga_id in ids]

    async def all_text(self) -> str:
        """Return all that any table holds."""
        async with self.storage.log.reading() as connection:
            rows = [
                list(row) for table in SCHEMA.sorted_tables for row in await connection.execute(select(table))
            ]
        return json.dumps(rows, default=str, ensure_ascii=False)

    async def replicas(self, stack: AsyncExitStack, url: str, **members: Any) -> list[Retention]:
        """Return three processes' retentions."""
        storages = [await stack.enter_async_context(open_storage(url)) for _ in range(3)]
        return [
            self.retention(store=SqlRetention(one.log, CHECKOUT_REDACTION), batch=4, **members)
            for one in storages
        ]

    async def rows(self, saga_id: str) -> list[int]:
        """Return how many rows each table has of a saga."""
        columns = (
            saga.c.id,
            saga_log.c.saga_id,
            outbox.c.saga_id,
            webhook_delivery.c.saga_id,
            retention_later.c.saga_id,
        )
        async with self.storage.log.reading() as connection:
            return [
                len((await connection.execute(select(column).where(column == saga_id))).all())
                for column in columns
            ]


@pytest.fixture
async def archive(database_url: str) -> AsyncIterator[Archive]:
    async with open_storage(database_url) as storage:
        yield Archive(storage)


async def test_what_says_who_the_customer_is_is_gone_from_every_table(archive: Archive) -> None:
    """Names, addresses, tokens, goods, notes, and the texts in which services repeat them."""
    await archive.add(91 * DAY)
    await archive.add(91 * DAY, UNDONE, SagaStatus.COMPENSATED)
    before = await archive.all_text()
    assert all(secret in before for secret in SECRETS)
    assert await archive.retention().run() == RetentionCounts(redacted=2, deleted=0)
    after = await archive.all_text()
    assert [secret for secret in SECRETS if secret in after] == []


async def test_what_an_auditor_needs_stays(archive: Archive) -> None:
    """The order, the money, each step's outcome and reference, and who did what and why; no event changes place."""
    well = await archive.add(91 * DAY)
    undone = await archive.add(91 * DAY, UNDONE, SagaStatus.COMPENSATED)
    before = await archive.stored(undone)
    await archive.retention().run()

    done = await archive.stored(well)
    assert done.saga.input == {
        "order_id": "order-1",
        "amount": 3998,
        "currency": "EUR",
        "customer_id": "(removed)",
        "redacted": True,
    }
    results = [step.result for step in fold(a_definition(), done.events).steps]
    assert results == [
        {"payment_id": "pay_1", "amount": 3998, "currency": "EUR", "status": "captured"},
        {"reservation_id": "res_1", "status": "reserved"},
        {"shipment_id": "shp_1", "status": "booked"},
    ]

    after = await archive.stored(undone)
    shape = [(e.seq, e.at, e.type, e.step, e.attempt) for e in before.events]
    assert [(e.seq, e.at, e.type, e.step, e.attempt) for e in after.events] == shape
    assert after.events[2].data == {
        "who": "ada",
        "reason": "The customer called.",
        "action": "a1",
        "reference": "TICKET-7",
    }
    error = {"code": "no_such_address", "kind": "refused", "message": "(removed)"}
    assert after.events[3].data == {"error": error, "duration_ms": 12.5}
    assert (after.status, after.epoch) == (before.status, before.epoch)


async def test_a_repeat_of_its_key_still_finds_a_redacted_saga(archive: Archive) -> None:
    saga_id = await archive.add(91 * DAY)
    await archive.retention().run()
    again = NewSaga(
        id=first_id(NOON),
        definition="checkout",
        version=1,
        input={},
        order_id="other",
        idempotency_key="key-1",
    )
    answer = await archive.storage.log.start(again, started(), owner="me")
    assert answer == IdempotencyConflict(saga_id=saga_id, fingerprint="print-1")


async def test_what_is_too_young_or_unfinished_stays_whole_at_any_age(archive: Archive) -> None:
    """A saga that waits for a person, or that still runs, needs its data; it loses it once it is finished."""
    stuck = a_trail(started(), PAID, failed("inventory"), an_event(EventType.SAGA_NEEDS_ATTENTION))
    young = await archive.add(90 * DAY - timedelta(hours=1))
    running = await archive.add(900 * DAY, WELL[:1])
    waiting = await archive.add(900 * DAY, stuck, SagaStatus.NEEDS_ATTENTION)
    long = await archive.add(200 * DAY, WELL[:1])
    await archive.rest(long, NOON - DAY, WELL[1:], SagaStatus.COMPLETED)
    retention = archive.retention(keep_sagas=90 * DAY)
    assert await retention.run() == RetentionCounts(redacted=0, deleted=0)
    assert await archive.redacted(young, running, waiting, long) == [False] * 4

    await archive.rest(running, NOON, WELL[1:], SagaStatus.COMPLETED)
    archive.clock.advance(89.5 * 86400)
    assert await archive.retention().run() == RetentionCounts(redacted=2, deleted=0)
    assert await archive.redacted(young, running, waiting, long) == [True, False, False, True]
    archive.clock.advance(86400)
    assert await archive.retention().run() == RetentionCounts(redacted=1, deleted=0)
    assert await archive.redacted(running, waiting) == [True, False]
    assert (await archive.rows(running))[-1] == 0  # nobody looks at it again


async def test_a_batch_is_bounded_and_followed_by_a_pause(archive: Archive) -> None:
    ids = [await archive.add(timedelta(days=100 + number)) for number in range(7)]
    assert (await archive.store.redact(NOON - 90 * DAY, limit=3)).done == 3
    assert await archive.redacted(*reversed(ids)) == [True] * 3 + [False] * 4, "the oldest first"
    retention = archive.retention(keep_sagas=95 * DAY)
    redacted, deleted = list[int](), list[int]()
    retention.on_redacted, retention.on_deleted = redacted.append, deleted.append
    assert await retention.run() == RetentionCounts(redacted=4, deleted=7)
    assert (redacted, deleted) == ([3, 1], [3, 3, 1])
    assert archive.clock.slept == [1.0] * 3


async def test_a_batch_is_bounded_also_where_some_were_finished_late(archive: Archive) -> None:
    late = [await archive.add(200 * DAY, WELL[:1]) for _ in range(2)]
    assert (await archive.store.redact(NOON - 90 * DAY, limit=3)).done == 0
    for saga_id in late:
        await archive.rest(saga_id, NOON - 100 * DAY, WELL[1:], SagaStatus.COMPLETED)
    new = [await archive.add(150 * DAY) for _ in range(3)]
    batch = await archive.store.redact(NOON - 90 * DAY, limit=3)
    assert (batch.done, batch.more) == (3, True)
    assert await archive.redacted(*late, *new) == [True, True, True, False, False]


async def test_what_was_looked_at_is_not_looked_at_again(archive: Archive) -> None:
    """Else each minute would read all of the past."""
    await archive.add(91 * DAY)
    assert await archive.retention().run() == RetentionCounts(redacted=1, deleted=0)
    batch = await archive.store.redact(NOON - 90 * DAY, limit=1)
    assert (batch.done, batch.more) == (0, False)


async def test_a_deleted_saga_leaves_nothing_behind(archive: Archive) -> None:
    """Not in the log, the outbox, the deliveries; the next one stays."""
    await archive.storage.deliveries.register(["shop"], now=NOON)
    old, next_one = await archive.add(401 * DAY), await archive.add(399 * DAY)
    await _told_of(archive, old, "delivered")
    await _set_endpoint(archive, **EVERYTHING)
    retention = archive.retention(keep_sagas=400 * DAY, endpoints=["shop"])
    assert await archive.rows(old) == [1, 5, 1, 1, 0]
    assert await retention.run() == RetentionCounts(redacted=2, deleted=1)
    assert await archive.rows(old) == [0] * 5
    assert await archive.rows(next_one) == [1, 5, 1, 0, 0]


@pytest.mark.parametrize("state", ["enabled", "disabled"])
async def test_who_is_still_to_be_told_holds_a_deletion_back(archive: Archive, state: str) -> None:
    """Be it in the outbox or a delivery; not where the endpoint is no longer configured."""
    await archive.storage.deliveries.register(["shop"], now=NOON)
    await _set_endpoint(archive, state=state)
    ahead = await archive.add(401 * DAY)
    everyone = archive.retention(keep_sagas=400 * DAY, endpoints=["shop"])
    assert (await everyone.run()).deleted == 0

    await _set_endpoint(archive, **EVERYTHING)
    pending, given_up = await archive.add(401 * DAY), await archive.add(401 * DAY)
    await _told_of(archive, pending, "pending")
    await _told_of(archive, given_up, "failed")
    assert (await everyone.run()).deleted == 2
    assert [await archive.storage.log.load(one) for one in (ahead, given_up)] == [None, None]
    assert await archive.rows(pending) == [1, 5, 1, 1, 0]

    elsewhere = archive.retention(keep_sagas=400 * DAY, endpoints=["another"])
    assert (await elsewhere.run()).deleted == 1
    assert await archive.rows(pending) == [0] * 5


async def test_two_replicas_at_once_do_each_saga_once(archive: Archive, database_url: str) -> None:
    """Neither twice nor not at all, and neither waits for ever for the other."""
    ids = [await archive.add(timedelta(days=100 + number % 5)) for number in range(40)]
    async with AsyncExitStack() as stack:
        replicas = await archive.replicas(stack, database_url)
        async with asyncio.timeout(60):
            left, forgotten = await asyncio.gather(
                asyncio.gather(*(replica.run() for replica in replicas)),
                archive.retention().erase("cus-ada"),
            )
    assert sum(one.redacted for one in left) + forgotten.redacted == len(ids)
    assert await archive.redacted(*ids) == [True] * len(ids)

    async with AsyncExitStack() as stack:
        replicas = await archive.replicas(stack, database_url, keep_sagas=90 * DAY)
        async with asyncio.timeout(60):
            left = await asyncio.gather(*(replica.run() for replica in replicas))
    assert sum(one.deleted for one in left) == len(ids)


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.003, 0.01, 0.03])
async def test_who_is_told_to_end_finishes_the_batch_under_way_and_no_other(
    archive: Archive, pause: float
) -> None:
    """A saga is redacted with all of its events or not at all, and the database is free at once."""
    ids = [await archive.add(timedelta(days=100 + number)) for number in range(12)]
    clock = VirtualClock(self_winding=False)
    retention = archive.retention(clock=clock, pause_seconds=60.0)
    await retention.start()
    await settle()
    clock.advance(60.0)
    await asyncio.sleep(pause)  # at whatever point of the batch this is
    await retention.stop()
    redacted = await archive.redacted(*ids)
    assert sum(redacted) in {0, 3}
    for saga_id, gone in zip(ids, redacted, strict=True):
        texts = [json.dumps(dict(event.data)) for event in (await archive.stored(saga_id)).events]
        assert any("TRACK-ADA" in text for text in texts) is not gone
    async with asyncio.timeout(60):
        await archive.retention().run()
    assert await archive.redacted(*ids) == [True] * len(ids)


async def test_an_erasure_request_redacts_a_customers_finished_sagas_now(archive: Archive) -> None:
    """Of one caller or of all; and tells which still need the data."""
    mine = [await archive.add(timedelta(minutes=number), caller="shop") for number in range(4)]
    theirs = await archive.add(DAY, caller="another")
    other = await archive.add(DAY, customer_id="cus-bob", caller="shop")
    running = await archive.add(DAY, WELL[:1], caller="shop")
    found = await archive.retention().erase("cus-ada", caller="shop")
    assert found.redacted == 4
    assert [(one.saga_id, one.status) for one in found.unfinished] == [(running, SagaStatus.RUNNING)]
    assert await archive.redacted(*mine, theirs, other, running) == [True] * 4 + [False] * 3
    found = await archive.retention().erase("cus-ada")
    assert (found.redacted, len(found.unfinished)) == (1, 1)
    assert await archive.redacted(theirs, other) == [True, False]
    assert (await archive.retention().erase("(removed)")).redacted == 0


async def test_the_loop_goes_on_after_the_database_was_away(archive: Archive) -> None:
    """And ends when it is told to."""
    clock = VirtualClock(self_winding=False)
    old = await archive.add(91 * DAY)
    retention = archive.retention(clock=clock)
    done = asyncio.Event()
    retention.on_redacted = lambda sagas: done.set() if sagas else None
    redact, tries = archive.store.redact, 0

    async def away_and_broken(before: datetime, *, limit: int) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise LogUnavailable("away", stored=False)
        if tries == 2:
            raise RuntimeError("broken")
        return await redact(before, limit=limit)

    archive.store.redact = away_and_broken  # type: ignore[method-assign]
    await retention.start()
    async with asyncio.timeout(60):
        while not done.is_set():
            clock.advance(60.0)
            await asyncio.sleep(0.01)
    await retention.stop()
    assert tries > 2
    assert await archive.redacted(old) == [True]


async def test_days_of_zero_keep_everything(archive: Archive) -> None:
    saga_id = await archive.add(9000 * DAY)
    retention = archive.retention(keep_data=None)
    await retention.start()
    assert await retention.run() == RetentionCounts(redacted=0, deleted=0)
    assert await retention.preview() == RetentionCounts(redacted=0, deleted=0)
    assert await archive.redacted(saga_id) == [False]
    await retention.stop()


async def test_what_is_due_is_what_a_run_then_does(archive: Archive) -> None:
    waiting = await archive.add(500 * DAY, WELL[:1])
    for number in range(5):
        await archive.add(timedelta(days=89.5 + number))
    retention = archive.retention(keep_sagas=92 * DAY)
    assert await archive.retention().run() == RetentionCounts(redacted=4, deleted=0)
    await archive.rest(waiting, NOON - 91 * DAY, WELL[1:], SagaStatus.COMPLETED)
    due = await retention.preview()
    assert due == await retention.run() == RetentionCounts(redacted=1, deleted=2)


EVERYTHING = {"xid": 10**12, "position": 10**9}
"""The place of an endpoint that has its deliveries of all that is in the outbox."""


async def _told_of(archive: Archive, saga_id: str, status: str) -> None:
    event = OutboxEvent(saga_id=saga_id, seq=5, type=EventName.COMPLETED, at=NOON)
    row = {
        "endpoint": "shop",
        "status": status,
        "saga_id": saga_id,
        "seq": event.seq,
        "type": event.type.value,
        "at": NOON,
        "attempts": 1,
        "next_attempt_at": NOON if status == "pending" else None,
    }
    async with archive.storage.log.writing() as connection:
        await connection.execute(insert(webhook_delivery).values(row))


async def _set_endpoint(archive: Archive, **values: Any) -> None:
    async with archive.storage.log.writing() as connection:
        await connection.execute(update(webhook_endpoint).values(**values))
