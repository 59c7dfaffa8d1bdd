"""One row that can't be taken over, told of or understood stops none of the others."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text, update
from uuid_utils import uuid7

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange
from app.settings.webhook_endpoints import Endpoint, EventName
from app.storage import Storage, open_storage
from app.storage.engine.tables import outbox, saga, webhook_delivery
from app.storage.outbox.delivery_rows import AttemptResult, DeliveryStatus
from app.storage.outbox.feed import FeedCursor
from tests.builders import an_action

AT = datetime(2026, 11, 28, tzinfo=UTC)
STARTED = SagaEvent(seq=1, at=AT, type=EventType.SAGA_STARTED)
ONE = [("one", 1)]
SHOP = Endpoint(name="shop", url="http://127.0.0.1:9/", secrets=(b"0" * 24,))


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with open_storage(database_url) as storage:
        yield storage


async def _started(storage: Storage, *, owner: str = "dead") -> str:
    new = NewSaga(id=str(uuid7()), definition="one", version=1, input={})
    await storage.log.start(new, STARTED, owner=owner)
    return new.id


async def _ended(storage: Storage) -> str:
    saga_id = await _started(storage)
    ended = SagaEvent(seq=2, at=AT, type=EventType.SAGA_COMPLETED)
    done = RowChange(status=SagaStatus.COMPLETED, next_action_at=None, finished_at=AT)
    await storage.log.append(saga_id, epoch=1, events=[ended], change=done)
    return saga_id


async def test_a_saga_that_cannot_be_taken_over_is_put_off_and_the_others_are_taken(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the database has against it: a damaged page, a trigger of somebody's."""
    await storage.log.renew("heir", seconds=60)
    bad, good = await _started(storage), await _started(storage)
    async with storage.log.writing() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(
                text("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
            )
            await connection.execute(
                text(
                    f"CREATE TRIGGER no BEFORE INSERT ON saga_log FOR EACH ROW WHEN (NEW.saga_id = '{bad}') "
                    "EXECUTE FUNCTION no()"
                )
            )
        else:
            await connection.execute(
                text(
                    f"CREATE TRIGGER no BEFORE UPDATE OF epoch ON saga WHEN NEW.id = '{bad}' "
                    "BEGIN SELECT RAISE(ABORT, 'no'); END"
                )
            )
    with caplog.at_level(logging.ERROR):
        taken = await storage.log.claim(owner="heir", definitions=ONE, limit=10)
        assert [one.saga.id for one in taken] == [good]
        assert [(one.message, one.__dict__["saga"]) for one in caplog.records] == [
            ("saga_claim_deferred", bad)
        ]
        later = await _started(storage)
        taken = await storage.log.claim(owner="heir", definitions=ONE, limit=10)
        assert [one.saga.id for one in taken] == [later]
    stored = await storage.log.load(bad)
    assert stored is not None
    assert stored.epoch == 1


async def test_a_wish_that_cannot_be_made_out_hides_no_other(storage: Storage) -> None:
    bad, good = await _started(storage, owner="me"), await _started(storage, owner="me")
    request = an_action("cancel")
    assert await storage.log.request_cancel(good, request) == request
    async with storage.log.writing() as connection:
        await connection.execute(update(saga).where(saga.c.id == bad).values(cancel={"who": 7}))
    assert list(await storage.log.pending_cancellations("me")) == [good]


async def test_a_newer_releases_word_in_the_outbox_stops_neither_the_feed_nor_an_endpoint(
    storage: Storage,
) -> None:
    """It was left behind by a release that was rolled back."""
    await storage.deliveries.register(["shop"], now=AT)
    async with storage.log.writing() as connection:
        row = {"saga_id": str(uuid7()), "seq": 2, "type": "checkout.reopened", "at": AT}
        await connection.execute(insert(outbox).values(caller="", **row))
        delivery = {"endpoint": "shop", "status": "pending", "attempts": 0, "next_attempt_at": AT}
        await connection.execute(insert(webhook_delivery).values(**row, **delivery))
    ended = await _ended(storage)
    told = await storage.outbox.feed(FeedCursor(), caller=None, limit=10)
    assert [one.event.saga_id for one in told] == [ended]
    now = datetime.now(UTC) + timedelta(hours=1)
    assert await storage.deliveries.fan_out(SHOP) == 1
    claimed = await storage.deliveries.claim(SHOP, owner="me", now=now, seconds=10, limit=10)
    assert [one.event.type for one in claimed] == [EventName.COMPLETED]
    listed = await storage.deliveries.list_deliveries(status=None, endpoint=None, before=None, limit=10)
    assert [one.id for one in listed] == [claimed[0].id]


async def test_what_a_receiver_said_can_always_be_kept(storage: Storage) -> None:
    """NUL and lone surrogates aren't text for a database."""
    await storage.deliveries.register(["shop"], now=AT)
    await _ended(storage)
    await storage.deliveries.fan_out(SHOP)
    now = datetime.now(UTC) + timedelta(hours=1)
    (claimed,) = await storage.deliveries.claim(SHOP, owner="me", now=now, seconds=10, limit=10)
    said = AttemptResult(status=DeliveryStatus.FAILED, last_error="a\0b\ud800c")
    await storage.deliveries.record_results([(claimed, said)], owner="me")
    (listed,) = await storage.deliveries.list_deliveries(status=None, endpoint=None, before=None, limit=10)
    assert (listed.status, listed.last_error) == (DeliveryStatus.FAILED, "ab?c")
