"""Delivering: at least once, in the order of each saga, with retries over days, and not to an endpoint that is gone."""

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
from app.storage.outbox.delivery_rows import AttemptResult, DeliveryStatus
from app.storage.outbox.feed import FeedCursor
from app.webhooks import UnknownDelivery, WebhookSender
from app.webhooks.response import WebhookResponse
from app.webhooks.sender import Destination
from app.webhooks.signature import signature_headers
from tests.builders import NOON
from tests.unit.webhooks.world import DELAYS, SECRET, World, a_world, an_endpoint

SHOP = an_endpoint()
DOWN = WebhookResponse(status=503)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with a_world(database_url) as world:
        yield world


def verified(secret: bytes, body: bytes, headers: Any) -> Any:
    """Return what the real library reads from a request."""
    return Webhook(base64.b64encode(secret).decode()).verify(body.decode(), dict(headers))


async def keep_delivering(world: World, sender: WebhookSender, destination: Destination) -> None:
    """Deliver a second before and at each due time, until nothing is due."""
    while True:
        await sender.deliver(destination)
        pending = await world.deliveries(DeliveryStatus.PENDING)
        if not pending:
            return
        due = min(one.next_attempt_at for one in pending if one.next_attempt_at)
        world.clock.advance((due - world.clock.now()).total_seconds() - 1.0)
        assert await sender.deliver(destination) == 0
        world.clock.advance(1.0)


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library refuses a time that isn't now, and the tests' clock shows noon."""

    class AtNoon(type(NOON)):  # type: ignore[misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOON.astimezone(tz)

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", AtNoon)


async def test_an_event_is_delivered_once_with_a_signature_that_the_library_accepts(world: World) -> None:
    """The body is the saga as GET shows it; an accepted event is not sent again."""
    sender, destination, client = world.a_replica(SHOP)
    await world.register(SHOP)
    event_id = await world.completed()
    while await sender.deliver(destination):
        pass
    (sent,) = client.sent
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
    headers = signature_headers("evt_1", body, at=NOON, secrets=(new, old))
    assert verified(old, body, headers) == verified(new, body, headers) == json.loads(body)
    for secret, content in ((b"x" * 24, body), (new, b'{"type":"y"}')):
        with pytest.raises(WebhookVerificationError):
            verified(secret, content, headers)


async def test_a_delivery_is_retried_after_each_delay_and_fails_after_the_last(world: World) -> None:
    """With the same id and bytes each time; then never again by itself."""
    sender, destination, client = world.a_replica(SHOP)
    client.answers.extend([DOWN, WebhookResponse(error="No answer."), WebhookResponse(status=302), DOWN])
    await world.register(SHOP)
    await world.completed()
    await keep_delivering(world, sender, destination)
    waited = [(b.at - a.at).total_seconds() for a, b in pairwise(client.sent)]
    assert waited == list(DELAYS)
    assert len({(sent.id, sent.body) for sent in client.sent}) == 1
    (delivery,) = await world.deliveries(DeliveryStatus.FAILED)
    assert (delivery.attempts, delivery.last_error) == (4, "The receiver answered 503.")


async def test_a_retry_after_is_honoured_where_it_is_longer_than_the_delay(world: World) -> None:
    """A shorter one does not use up the attempts in a minute."""
    sender, destination, client = world.a_replica(SHOP)
    client.answers.extend(
        [WebhookResponse(status=429, retry_after=60.0), WebhookResponse(status=503, retry_after=1.0)]
    )
    await world.register(SHOP)
    await world.completed()
    await keep_delivering(world, sender, destination)
    assert [(b.at - a.at).total_seconds() for a, b in pairwise(client.sent)] == [60.0, 300.0]


async def test_jitter_makes_a_pause_up_to_a_fifth_longer(world: World) -> None:
    """Not all that failed together come back together."""
    sender, destination, client = world.a_replica(SHOP, jitter=1.0)
    client.answers.append(DOWN)
    await world.register(SHOP)
    await world.completed()
    await sender.deliver(destination)
    (delivery,) = await world.deliveries(DeliveryStatus.PENDING)
    assert delivery.next_attempt_at == NOON + timedelta(seconds=6.0)


async def test_an_event_waits_for_the_earlier_one_of_its_saga(world: World) -> None:
    """Another saga's does not; the order is also kept when the earlier one has failed."""
    sender, destination, client = world.a_replica(SHOP)
    await world.register(SHOP)
    first, second = await world.twice()
    client.answers.append(DOWN)
    await sender.deliver(destination)
    other = await world.completed()
    await sender.deliver(destination)
    assert client.ids == [first, other]
    world.clock.advance(DELAYS[0])
    await sender.deliver(destination)
    assert client.ids == [first, other, first]
    await sender.deliver(destination)
    assert client.ids == [first, other, first, second]


async def test_a_failed_delivery_blocks_nothing(world: World) -> None:
    """The next event of its saga is sent."""
    sender, destination, client = world.a_replica(SHOP)
    await world.register(SHOP)
    first, second = await world.twice()
    client.answers.extend([DOWN] * 4)
    for _ in range(5):
        await sender.deliver(destination)
        world.clock.advance(2000.0)
    assert client.ids == [first] * 4 + [second]


async def test_410_disables_the_endpoint_until_an_operator_enables_it(world: World) -> None:
    """Nothing more is sent to it, no event of that time is lost, and other endpoints are not affected."""
    other = an_endpoint("other")
    sender, destination, client = world.a_replica(SHOP)
    other_sender, other_destination, other_client = world.a_replica(other)
    await world.register(SHOP, other)
    service = world.service(SHOP, other)
    ids = [await world.completed()]
    client.answers.append(WebhookResponse(status=410))
    await sender.deliver(destination)
    ids.append(await world.completed())
    world.clock.advance(100_000.0)
    assert await sender.deliver(destination) == 0
    assert client.ids == ids[:1]
    shop, _ = await service.endpoints()
    status = shop.status
    assert (status.enabled, status.reason, status.waiting) == (False, "It answered 410 Gone.", 2)
    assert shop.lag_seconds == 100_000.0
    while await other_sender.deliver(other_destination):
        pass
    assert other_client.ids == ids

    assert (await service.enable("shop")).status.enabled
    while await sender.deliver(destination):
        pass
    assert client.ids == [ids[0], *ids]
    with pytest.raises(UnknownDelivery):
        await service.enable("nobody")


async def test_the_lag_is_the_age_of_the_oldest_event_not_yet_delivered(world: World) -> None:
    """In the outbox or among its deliveries; filtered events don't count, nor an endpoint never registered."""
    picky = an_endpoint("picky", callers=frozenset({"a"}))
    sender, destination, client = world.a_replica(SHOP)
    endpoints = [SHOP, picky, an_endpoint("never-registered")]

    async def lags() -> dict[str, tuple[bool, float]]:
        found = await world.storage.deliveries.lags(endpoints, now=world.clock.now())
        return {lag.endpoint: (lag.enabled, lag.seconds) for lag in found}

    await world.register(SHOP, picky)
    assert await lags() == {"shop": (True, 0.0), "picky": (True, 0.0)}
    await world.completed(caller="b")
    world.clock.advance(60.0)
    assert await lags() == {"shop": (True, 60.0), "picky": (True, 0.0)}
    client.answers.append(DOWN)
    await sender.deliver(destination)
    world.clock.advance(60.0)
    assert await lags() == {"shop": (True, 120.0), "picky": (True, 0.0)}
    client.answers.append(WebhookResponse(status=410))
    await sender.deliver(destination)
    assert await lags() == {"shop": (False, 120.0), "picky": (True, 0.0)}
    await world.service(*endpoints).enable("shop")
    await sender.deliver(destination)
    assert await lags() == {"shop": (True, 0.0), "picky": (True, 0.0)}


async def test_redelivering_sends_a_delivery_again_with_new_attempts(world: World) -> None:
    """Failed or delivered, at once, and with the same id."""
    sender, destination, client = world.a_replica(SHOP)
    await world.register(SHOP)
    event_id = await world.completed()
    client.answers.extend([DOWN] * 4)
    for _ in range(5):
        await sender.deliver(destination)
        world.clock.advance(2000.0)
    (failed,) = await world.deliveries(DeliveryStatus.FAILED)
    again = await world.service(SHOP).redeliver(failed.id)
    assert (again.status, again.attempts) == (DeliveryStatus.PENDING, 0)
    await sender.deliver(destination)
    assert client.ids == [event_id] * 5
    (delivery,) = await world.deliveries(DeliveryStatus.DELIVERED)
    assert delivery.attempts == 1
    with pytest.raises(UnknownDelivery):
        await world.service(SHOP).redeliver(delivery.id + 1)


async def test_an_endpoint_gets_the_events_of_its_filters(world: World) -> None:
    """By type and by caller."""
    endpoint = an_endpoint(events=frozenset({EventName.COMPLETED}), callers=frozenset({"a"}))
    sender, destination, client = world.a_replica(endpoint)
    await world.register(endpoint)
    await world.completed(caller="b")
    mine = await world.completed(caller="a")
    await world.twice()
    while await sender.deliver(destination):
        pass
    assert client.ids == [mine]


async def test_a_new_endpoint_gets_the_events_from_its_registration_on(world: World) -> None:
    """Older ones are in the feed; registering a known endpoint again changes nothing."""
    await world.completed()
    sender, destination, client = world.a_replica(SHOP)
    await world.register(SHOP)
    after = await world.completed()
    await world.register(SHOP)
    while await sender.deliver(destination):
        pass
    assert client.ids == [after]


async def test_replicas_share_the_deliveries_and_send_none_twice(world: World) -> None:
    """Concurrent claims never take the same delivery, nor create one twice."""
    replicas = [world.a_replica(SHOP, owner=owner) for owner in "ab"]
    await world.register(SHOP)
    ids = [await world.completed() for _ in range(20)]
    for _ in range(3):
        await asyncio.gather(*(sender.deliver(destination) for sender, destination, _ in replicas))
    assert sorted(one for _, _, client in replicas for one in client.ids) == sorted(ids)


async def test_the_claims_of_a_dead_replica_are_taken_over_once_they_expire(world: World) -> None:
    """It may have been sent before: at least once. A late result of the dead one is ignored."""
    sender, destination, client = world.a_replica(SHOP, owner="b")
    await world.register(SHOP)
    event_id = await world.completed()
    deliveries = world.storage.deliveries
    await deliveries.fan_out(SHOP)
    now = world.clock.now()
    (lost,) = await deliveries.claim(SHOP, owner="a", now=now, seconds=25.0, limit=10)
    await sender.deliver(destination)
    assert client.ids == []
    world.clock.advance(25.0)
    (taken,) = await deliveries.claim(SHOP, owner="b", now=world.clock.now(), seconds=25.0, limit=10)
    delivered = AttemptResult(status=DeliveryStatus.DELIVERED, delivered_at=now, last_status=200)
    await deliveries.record_results([(lost, delivered)], owner="a")
    assert [one.attempts for one in await world.deliveries(DeliveryStatus.PENDING)] == [taken.attempts]
    await deliveries.release("b")
    await sender.deliver(destination)
    assert client.ids == [event_id]


async def test_a_started_sender_delivers_by_itself_and_stops_at_once(world: World) -> None:
    sender, _, client = world.a_replica(SHOP)
    await sender.start()
    event_id = await world.completed()
    async with asyncio.timeout(60):
        await client.heard.wait()
        await sender.stop(5.0)
    assert client.ids == [event_id]


async def test_the_feed_shows_each_saga_as_it_was_and_each_tenant_its_own(world: World) -> None:
    """Nothing after the event is in it."""
    first, second = await world.twice()
    mine = await world.completed(caller="me")
    service = world.service()
    items = await service.events(ANONYMOUS, FeedCursor(), limit=10)
    assert [one.event.id for one in items] == [first, second, mine]
    assert [len(one.view.events) for one in items if one.view] == [1, 5, 5]
    me = Principal(tenant="me", scopes=frozenset({Scope.READ}))
    assert [one.event.id for one in await service.events(me, FeedCursor(), limit=10)] == [mine]
