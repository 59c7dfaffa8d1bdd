"""Delivering: at least once, in each saga's order, again over days, and never to who is gone."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.access.principal import ANONYMOUS, Principal
from app.access.scopes import Scope
from app.settings.webhook_endpoints import EventName
from app.storage.outbox.deliveries import AttemptResult, DeliveryStatus
from app.storage.outbox.feed import FeedCursor
from app.webhooks import Sender, UnknownDelivery
from app.webhooks.client import WebhookResponse
from app.webhooks.sender import Destination
from app.webhooks.signature import signed
from tests.builders import NOON
from tests.unit.webhooks.world import PAUSES, SECRET, World, a_world, an_endpoint

SHOP = an_endpoint()
DOWN = WebhookResponse(status=503)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with a_world(database_url) as world:
        yield world


def verified(secret: bytes, body: bytes, headers: Any) -> Any:
    """Return what the real library makes of a request."""
    return Webhook(base64.b64encode(secret).decode()).verify(body.decode(), dict(headers))


async def keep_delivering(world: World, sender: Sender, line: Destination) -> None:
    """Deliver a second before and at each time at which something is due, until nothing is any more."""
    while True:
        await sender.deliver(line)
        pending = await world.deliveries(DeliveryStatus.PENDING)
        if not pending:
            return
        due = min(one.next_attempt_at for one in pending if one.next_attempt_at)
        world.clock.advance((due - world.clock.now()).total_seconds() - 1.0)
        assert await sender.deliver(line) == 0
        world.clock.advance(1.0)


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library refuses a time that isn't now; here it is noon."""

    class AtNoon(type(NOON)):  # type: ignore[misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOON.astimezone(tz)

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", AtNoon)


async def test_an_event_is_delivered_once_and_signed_as_the_library_wants(world: World) -> None:
    """The body is the saga as GET shows it; nothing is sent again once it was taken."""
    sender, line, poster = world.a_replica(SHOP)
    await world.register(SHOP)
    event_id = await world.completed()
    while await sender.deliver(line):
        pass
    (sent,) = poster.sent
    body = verified(SECRET, sent.body, sent.headers)
    assert sent.id == event_id
    assert (body["type"], body["data"]["status"], body["data"]["order_id"][:5]) == (
        "checkout.completed",
        "completed",
        "order",
    )
    assert body["timestamp"] == body["data"]["trail"][-1]["at"]
    (delivery,) = await world.deliveries(DeliveryStatus.DELIVERED)
    assert (delivery.attempts, delivery.last_status) == (1, 200)


def test_each_secret_of_a_rotation_signs() -> None:
    """A receiver verifies with the old one or the new one; a third one, or another body, is refused."""
    body, old, new = b'{"type":"x"}', b"o" * 24, b"n" * 24
    headers = signed("evt_1", body, at=NOON, secrets=(new, old))
    assert verified(old, body, headers) == verified(new, body, headers) == json.loads(body)
    for secret, content in ((b"x" * 24, body), (new, b'{"type":"y"}')):
        with pytest.raises(WebhookVerificationError):
            verified(secret, content, headers)


async def test_what_isnt_taken_comes_again_after_each_pause_and_fails_after_the_last(world: World) -> None:
    """The same id and the same bytes each time, at the pauses' times, then never again by itself."""
    sender, line, poster = world.a_replica(SHOP)
    poster.answers.extend([DOWN, WebhookResponse(error="No answer."), WebhookResponse(status=302), DOWN])
    await world.register(SHOP)
    await world.completed()
    await keep_delivering(world, sender, line)
    waited = [(b.at - a.at).total_seconds() for a, b in pairwise(poster.sent)]
    assert waited == list(PAUSES)
    assert len({(sent.id, sent.body) for sent in poster.sent}) == 1
    (delivery,) = await world.deliveries(DeliveryStatus.FAILED)
    assert (delivery.attempts, delivery.last_error) == (4, "The receiver answered 503.")


async def test_a_longer_retry_after_is_heeded_and_a_shorter_is_not(world: World) -> None:
    """Who asks for time gets it; who asks for none doesn't use up the budget in a minute."""
    sender, line, poster = world.a_replica(SHOP)
    poster.answers.extend(
        [WebhookResponse(status=429, retry_after=60.0), WebhookResponse(status=503, retry_after=1.0)]
    )
    await world.register(SHOP)
    await world.completed()
    await keep_delivering(world, sender, line)
    assert [(b.at - a.at).total_seconds() for a, b in pairwise(poster.sent)] == [60.0, 300.0]


async def test_jitter_makes_a_pause_up_to_a_fifth_longer(world: World) -> None:
    """Not all that failed together come back together."""
    sender, line, poster = world.a_replica(SHOP, jitter=1.0)
    poster.answers.append(DOWN)
    await world.register(SHOP)
    await world.completed()
    await sender.deliver(line)
    (delivery,) = await world.deliveries(DeliveryStatus.PENDING)
    assert delivery.next_attempt_at == NOON + timedelta(seconds=6.0)


async def test_a_later_event_of_a_saga_waits_for_the_earlier_one(world: World) -> None:
    """Another saga's doesn't wait; the order is kept when the earlier one is given up, too."""
    sender, line, poster = world.a_replica(SHOP)
    await world.register(SHOP)
    first, second = await world.twice()
    poster.answers.append(DOWN)
    await sender.deliver(line)
    other = await world.completed()
    await sender.deliver(line)
    assert poster.ids == [first, other]
    world.clock.advance(PAUSES[0])
    await sender.deliver(line)
    assert poster.ids == [first, other, first]
    await sender.deliver(line)
    assert poster.ids == [first, other, first, second]


async def test_what_is_given_up_holds_back_nothing(world: World) -> None:
    """A failed delivery lets the saga's next event through."""
    sender, line, poster = world.a_replica(SHOP)
    await world.register(SHOP)
    first, second = await world.twice()
    poster.answers.extend([DOWN] * 4)
    for _ in range(5):
        await sender.deliver(line)
        world.clock.advance(2000.0)
    assert poster.ids == [first] * 4 + [second]


async def test_410_disables_the_endpoint_until_a_person_enables_it(world: World) -> None:
    """It is sent nothing more; nothing of what happened meanwhile is lost, and no other endpoint is hurt."""
    other = an_endpoint("other")
    sender, line, poster = world.a_replica(SHOP)
    other_sender, other_line, other_poster = world.a_replica(other)
    await world.register(SHOP, other)
    desk = world.desk(SHOP, other)
    ids = [await world.completed()]
    poster.answers.append(WebhookResponse(status=410))
    await sender.deliver(line)
    ids.append(await world.completed())
    world.clock.advance(100_000.0)
    assert await sender.deliver(line) == 0
    assert poster.ids == ids[:1]
    shop, _ = await desk.endpoints()
    standing = shop.standing
    assert (standing.enabled, standing.reason, standing.waiting) == (False, "It answered 410 Gone.", 2)
    assert shop.lag_seconds == 100_000.0
    while await other_sender.deliver(other_line):
        pass
    assert other_poster.ids == ids

    assert (await desk.enable("shop")).standing.enabled
    while await sender.deliver(line):
        pass
    assert poster.ids == [ids[0], *ids]
    with pytest.raises(UnknownDelivery):
        await desk.enable("nobody")


async def test_the_lag_is_the_age_of_the_oldest_event_that_an_endpoint_has_not_got(world: World) -> None:
    """In the outbox or among its deliveries; what it filters away and what it never knew don't count."""
    picky = an_endpoint("picky", callers=frozenset({"a"}))
    sender, line, poster = world.a_replica(SHOP)
    endpoints = [SHOP, picky, an_endpoint("never-registered")]

    async def lags() -> dict[str, tuple[bool, float]]:
        found = await world.storage.deliveries.lags(endpoints, now=world.clock.now())
        return {lag.endpoint: (lag.enabled, lag.seconds) for lag in found}

    await world.register(SHOP, picky)
    assert await lags() == {"shop": (True, 0.0), "picky": (True, 0.0)}
    await world.completed(caller="b")
    world.clock.advance(60.0)
    assert await lags() == {"shop": (True, 60.0), "picky": (True, 0.0)}
    poster.answers.append(DOWN)
    await sender.deliver(line)
    world.clock.advance(60.0)
    assert await lags() == {"shop": (True, 120.0), "picky": (True, 0.0)}
    poster.answers.append(WebhookResponse(status=410))
    await sender.deliver(line)
    assert await lags() == {"shop": (False, 120.0), "picky": (True, 0.0)}
    await world.desk(*endpoints).enable("shop")
    await sender.deliver(line)
    assert await lags() == {"shop": (True, 0.0), "picky": (True, 0.0)}


async def test_a_delivery_is_sent_again_by_hand_with_a_new_budget(world: World) -> None:
    """Failed or delivered, it is sent at once and under the same id."""
    sender, line, poster = world.a_replica(SHOP)
    await world.register(SHOP)
    event_id = await world.completed()
    poster.answers.extend([DOWN] * 4)
    for _ in range(5):
        await sender.deliver(line)
        world.clock.advance(2000.0)
    (failed,) = await world.deliveries(DeliveryStatus.FAILED)
    again = await world.desk(SHOP).redeliver(failed.id)
    assert (again.status, again.attempts) == (DeliveryStatus.PENDING, 0)
    await sender.deliver(line)
    assert poster.ids == [event_id] * 5
    (delivery,) = await world.deliveries(DeliveryStatus.DELIVERED)
    assert delivery.attempts == 1
    with pytest.raises(UnknownDelivery):
        await world.desk(SHOP).redeliver(delivery.id + 1)


async def test_filters_let_through_what_was_asked_for(world: World) -> None:
    """By type and by caller."""
    endpoint = an_endpoint(events=frozenset({EventName.COMPLETED}), callers=frozenset({"a"}))
    sender, line, poster = world.a_replica(endpoint)
    await world.register(endpoint)
    await world.completed(caller="b")
    mine = await world.completed(caller="a")
    await world.twice()
    while await sender.deliver(line):
        pass
    assert poster.ids == [mine]


async def test_a_new_endpoint_is_told_what_happens_from_then_on(world: World) -> None:
    """Years of history are for the feed; known already, an endpoint is left where it is."""
    await world.completed()
    sender, line, poster = world.a_replica(SHOP)
    await world.register(SHOP)
    after = await world.completed()
    await world.register(SHOP)
    while await sender.deliver(line):
        pass
    assert poster.ids == [after]


async def test_replicas_share_the_work_and_send_nothing_twice(world: World) -> None:
    """Two claims at once never take the same delivery, nor make one twice."""
    replicas = [world.a_replica(SHOP, owner=owner) for owner in "ab"]
    await world.register(SHOP)
    ids = [await world.completed() for _ in range(20)]
    for _ in range(3):
        await asyncio.gather(*(sender.deliver(line) for sender, line, _ in replicas))
    assert sorted(one for _, _, poster in replicas for one in poster.ids) == sorted(ids)


async def test_what_a_dead_replica_had_claimed_is_sent_by_another_once_its_lease_ends(world: World) -> None:
    """It may have been sent before: at least once. What the dead one still says doesn't count."""
    sender, line, poster = world.a_replica(SHOP, owner="b")
    await world.register(SHOP)
    event_id = await world.completed()
    deliveries = world.storage.deliveries
    await deliveries.fan_out(SHOP)
    now = world.clock.now()
    (lost,) = await deliveries.claim(SHOP, owner="a", now=now, seconds=25.0, limit=10)
    await sender.deliver(line)
    assert poster.ids == []
    world.clock.advance(25.0)
    (taken,) = await deliveries.claim(SHOP, owner="b", now=world.clock.now(), seconds=25.0, limit=10)
    delivered = AttemptResult(status=DeliveryStatus.DELIVERED, delivered_at=now, last_status=200)
    await deliveries.settle([(lost, delivered)], owner="a")
    assert [one.attempts for one in await world.deliveries(DeliveryStatus.PENDING)] == [taken.attempts]
    await deliveries.release("b")
    await sender.deliver(line)
    assert poster.ids == [event_id]


async def test_the_loops_deliver_by_themselves_and_leave_at_once(world: World) -> None:
    """From begin to end, without a call by hand."""
    sender, _, poster = world.a_replica(SHOP)
    await sender.start()
    event_id = await world.completed()
    async with asyncio.timeout(20):
        await poster.heard.wait()
        await sender.stop(5.0)
    assert poster.ids == [event_id]


async def test_the_feed_shows_a_saga_as_it_stood_and_each_caller_its_own(world: World) -> None:
    """What came after the event isn't in it."""
    first, second = await world.twice()
    mine = await world.completed(caller="me")
    desk = world.desk()
    told = await desk.events(ANONYMOUS, FeedCursor(), limit=10)
    assert [one.event.id for one in told] == [first, second, mine]
    assert [len(one.view.events) for one in told if one.view] == [1, 5, 5]
    me = Principal(tenant="me", scopes=frozenset({Scope.READ}))
    assert [one.event.id for one in await desk.events(me, FeedCursor(), limit=10)] == [mine]
