"""Delivering webhooks: one loop for each endpoint, so that a slow receiver delays only its own deliveries.

each turn   fan out ──▶ claim ──▶ post, many at once ──▶ record the results; the next at once while there is more
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from app.operations.reading import SagaReader
from app.operations.saga_view import SagaView
from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from app.saga.model.errors import LogError, SagaError
from app.saga.ports.clock import Clock
from app.settings.webhook_endpoints import Endpoint
from app.storage.outbox.deliveries import SqlDeliveries
from app.storage.outbox.delivery_rows import AttemptResult, Delivery, DeliveryStatus
from app.storage.outbox.feed import OutboxEvent, SqlOutbox
from app.webhooks.response import WebhookResponse
from app.webhooks.retry_schedule import RetrySchedule
from app.webhooks.signature import signature_headers

if TYPE_CHECKING:
    from app.webhooks.client import WebhookClient

_logger = logging.getLogger(__name__)

MAX_CONCURRENT = 32
LEASE_MARGIN_SECONDS = 10.0
"""Seconds by which a claim outlasts the time-out of a request, for the database's part."""

RELEASE_SECONDS = 1.0
"""How long releasing claims may take when the process stops; otherwise they expire."""

GONE = 410

Render = Callable[[OutboxEvent, SagaView], bytes]
"""Renders an event's body: the same bytes each time, as it is made of the trail up to the event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """An endpoint and the client that posts to it."""

    endpoint: Endpoint
    client: WebhookClient


class WebhookSender(Lifecycle):
    """The delivery loops of this process, which `owner` names in its claims.

    `start` registers new endpoints, and raises `LogUnavailable` while the database is unavailable. `stop` waits for
    deliveries in progress, and releases the claims of those that it had to cancel.
    """

    def __init__(
        self,
        deliveries: SqlDeliveries,
        outbox: SqlOutbox,
        reader: SagaReader,
        destinations: Sequence[Destination],
        *,
        render: Render,
        schedule: RetrySchedule,
        clock: Clock,
        owner: str,
        timeout: float,
        poll_seconds: float,
    ) -> None:
        super().__init__()
        self._deliveries = deliveries
        self._outbox = outbox
        self._reader = reader
        self._destinations = destinations
        self._render = render
        self._schedule = schedule
        self._clock = clock
        self._owner = owner
        self._lease_seconds = timeout + LEASE_MARGIN_SECONDS
        self._poll_seconds = poll_seconds
        self._cancelled = False

    async def _on_start(self) -> None:
        names = [destination.endpoint.name for destination in self._destinations]
        await self._deliveries.register(names, now=self._clock.now())
        for destination in self._destinations:
            self._run_loop(
                BackgroundLoop(
                    partial(self._turn, destination),
                    OutageReporter(_logger, "webhook_sending", endpoint=destination.endpoint.name),
                    retry_seconds=self._poll_seconds,
                    expected=LogError,
                    sleep=self._clock.sleep,
                )
            )

    async def _on_stop(self) -> None:
        if self._cancelled:
            self._cancelled = False
            with contextlib.suppress(LogError, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._deliveries.release(self._owner)
        for destination in self._destinations:
            await destination.client.aclose()

    async def _turn(self, destination: Destination) -> float:
        try:
            done = await self.deliver(destination)
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        return 0.0 if done else self._poll_seconds

    async def deliver(self, destination: Destination) -> int:
        """Fan out and deliver once what is due for an endpoint; return how much that was."""
        endpoint = destination.endpoint
        if not await self._deliveries.has_work(endpoint, now=self._clock.now()):
            return 0
        fanned = await self._deliveries.fan_out(endpoint)
        claimed = await self._deliveries.claim(
            endpoint,
            owner=self._owner,
            now=self._clock.now(),
            seconds=self._lease_seconds,
            limit=MAX_CONCURRENT,
        )
        bodies = await self._bodies(claimed)
        results = await asyncio.gather(*(self._send(destination, one, bodies.get(one.id)) for one in claimed))
        await self._deliveries.record_results(list(zip(claimed, results, strict=True)), owner=self._owner)
        if any(one.last_status == GONE for one in results):
            _logger.warning(
                "webhook_endpoint_disabled",
                extra={
                    "endpoint": endpoint.name,
                    "hint": "It answered 410: nothing more is sent to it until it is enabled.",
                },
            )
            await self._deliveries.disable(
                endpoint.name, reason="It answered 410 Gone.", now=self._clock.now()
            )
        return fanned + len(claimed)

    async def _bodies(self, claimed: Sequence[Delivery]) -> dict[int, bytes]:
        """Return the bodies of those deliveries whose saga can be read."""
        sagas = await self._outbox.sagas([one.event.saga_id for one in claimed])
        bodies = {}
        for one in claimed:
            stored = sagas.get(one.event.saga_id)
            if stored is None:
                continue
            try:
                bodies[one.id] = self._render(one.event, self._reader.as_of(stored, one.event.seq))
            except SagaError:
                continue  # this release can't read the saga: the delivery is retried
            except Exception:  # the others are still sent
                _logger.exception("webhook_event_not_rendered", extra={"event_id": one.event.id})
        return bodies

    async def _send(self, destination: Destination, delivery: Delivery, body: bytes | None) -> AttemptResult:
        now = self._clock.now()
        if body is None:
            response = WebhookResponse(error="The saga can't be read any more.")
        else:
            headers = signature_headers(delivery.event.id, body, at=now, secrets=destination.endpoint.secrets)
            response = await destination.client.post(body, headers, now=now)
        return self._result_of(delivery, response)

    def _result_of(self, delivery: Delivery, response: WebhookResponse) -> AttemptResult:
        now = self._clock.now()
        if response.accepted:
            return AttemptResult(
                status=DeliveryStatus.DELIVERED, delivered_at=now, last_status=response.status
            )
        error = response.error or f"The receiver answered {response.status}."
        again = self._schedule.next_attempt(delivery.attempts, now=now, retry_after=response.retry_after)
        if response.status == GONE:
            again = now  # once the endpoint is enabled again
        status = DeliveryStatus.FAILED if again is None else DeliveryStatus.PENDING
        if again is None:
            _logger.error(
                "webhook_delivery_failed",
                extra={"delivery": delivery.id, "endpoint": delivery.endpoint, "error": error},
            )
        return AttemptResult(
            status=status, next_attempt_at=again, last_status=response.status, last_error=error
        )


__all__ = ["Destination", "Render", "WebhookSender"]
