"""Delivers: one loop for each endpoint, so that a slow receiver holds up only itself.

every poll   fan out ──▶ claim ──▶ post, many at once ──▶ settle; again at once while there is more
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from app.operations.reading import SagaReader
from app.operations.saga_view import SagaView
from app.saga.engine.background_loop import BackgroundLoop
from app.saga.engine.lifecycle import Lifecycle
from app.saga.engine.outage_reporter import OutageReporter
from app.saga.model.errors import LogError, SagaError
from app.saga.ports.clock import Clock
from app.settings.webhook_endpoints import Endpoint
from app.storage.outbox.deliveries import AttemptResult, Delivery, DeliveryStatus, SqlDeliveries
from app.storage.outbox.feed import OutboxEvent, SqlOutbox
from app.webhooks.client import WebhookClient, WebhookResponse
from app.webhooks.retry_schedule import RetrySchedule
from app.webhooks.signature import signed

_logger = logging.getLogger(__name__)

POSTS_AT_ONCE = 32
LEASE_MARGIN_SECONDS = 10.0
"""How much longer than a post's time-out a claim lasts, for what is around it."""

RELEASE_SECONDS = 1.0
"""How long giving back deliveries may take at the end; otherwise their claim runs out."""

GONE = 410

Render = Callable[[OutboxEvent, SagaView], bytes]
"""Makes an event's body: the same bytes each time, as it is made of the trail up to the event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """An endpoint and the way to it."""

    endpoint: Endpoint
    poster: WebhookClient


class Sender(Lifecycle):
    """The loops beside the requests. `owner` names this process in its claims.

    `start` makes new endpoints known, and raises `LogUnavailable` while the database is down. `stop` waits for the
    deliveries under way, and gives back those that it had to cut off.
    """

    def __init__(
        self,
        deliveries: SqlDeliveries,
        outbox: SqlOutbox,
        reader: SagaReader,
        lines: Sequence[Destination],
        *,
        render: Render,
        pauses: RetrySchedule,
        clock: Clock,
        owner: str,
        timeout: float,
        poll_seconds: float,
    ) -> None:
        super().__init__()
        self._deliveries = deliveries
        self._outbox = outbox
        self._reader = reader
        self._lines = lines
        self._render = render
        self._pauses = pauses
        self._clock = clock
        self._owner = owner
        self._lease_seconds = timeout + LEASE_MARGIN_SECONDS
        self._poll_seconds = poll_seconds
        self._cut_off = False

    async def _on_start(self) -> None:
        names = [line.endpoint.name for line in self._lines]
        await self._deliveries.register(names, now=self._clock.now())
        for line in self._lines:
            self._run_loop(
                BackgroundLoop(
                    partial(self._turn, line),
                    OutageReporter(_logger, "webhook_delivery", endpoint=line.endpoint.name),
                    retry_seconds=self._poll_seconds,
                    expected=LogError,
                    sleep=self._clock.sleep,
                )
            )

    async def _on_stop(self) -> None:
        if self._cut_off:
            self._cut_off = False
            with contextlib.suppress(LogError, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._deliveries.release(self._owner)
        for line in self._lines:
            await line.poster.aclose()

    async def _turn(self, line: Destination) -> float:
        try:
            done = await self.deliver(line)
        except asyncio.CancelledError:
            self._cut_off = True
            raise
        return 0.0 if done else self._poll_seconds

    async def deliver(self, line: Destination) -> int:
        """Fan out and deliver once what is due for an endpoint; return how much there was to do."""
        endpoint = line.endpoint
        if not await self._deliveries.has_work(endpoint, now=self._clock.now()):
            return 0
        fanned = await self._deliveries.fan_out(endpoint)
        claimed = await self._deliveries.claim(
            endpoint,
            owner=self._owner,
            now=self._clock.now(),
            seconds=self._lease_seconds,
            limit=POSTS_AT_ONCE,
        )
        bodies = await self._bodies(claimed)
        settled = await asyncio.gather(*(self._send(line, one, bodies.get(one.id)) for one in claimed))
        await self._deliveries.settle(list(zip(claimed, settled, strict=True)), owner=self._owner)
        if any(how.last_status == GONE for how in settled):
            _logger.warning(
                "the endpoint %s answered 410: it is sent nothing more until enabled", endpoint.name
            )
            await self._deliveries.disable(
                endpoint.name, reason="It answered 410 Gone.", now=self._clock.now()
            )
        return fanned + len(claimed)

    async def _bodies(self, claimed: Sequence[Delivery]) -> dict[int, bytes]:
        """Return each delivery's body, of those whose saga can be read."""
        sagas = await self._outbox.sagas([one.event.saga_id for one in claimed])
        bodies = {}
        for one in claimed:
            stored = sagas.get(one.event.saga_id)
            if stored is None:
                continue
            try:
                bodies[one.id] = self._render(one.event, self._reader.as_of(stored, one.event.seq))
            except SagaError:
                continue  # a saga that this release can't read: it is tried again, and told so
            except Exception:  # the others' must be sent
                _logger.exception("the event %s can't be rendered", one.event.id)
        return bodies

    async def _send(self, line: Destination, delivery: Delivery, body: bytes | None) -> AttemptResult:
        now = self._clock.now()
        if body is None:
            posted = WebhookResponse(error="The saga can't be read any more.")
        else:
            headers = signed(delivery.event.id, body, at=now, secrets=line.endpoint.secrets)
            posted = await line.poster.post(body, headers, now=now)
        return self._settled(delivery, posted)

    def _settled(self, delivery: Delivery, posted: WebhookResponse) -> AttemptResult:
        now = self._clock.now()
        if posted.taken:
            return AttemptResult(status=DeliveryStatus.DELIVERED, delivered_at=now, last_status=posted.status)
        error = posted.error or f"The receiver answered {posted.status}."
        again = self._pauses.next_attempt(delivery.attempts, now=now, retry_after=posted.retry_after)
        if posted.status == GONE:
            again = now  # once the endpoint is enabled again
        status = DeliveryStatus.FAILED if again is None else DeliveryStatus.PENDING
        if again is None:
            _logger.error("delivery %d to %s is given up: %s", delivery.id, delivery.endpoint, error)
        return AttemptResult(
            status=status, next_attempt_at=again, last_status=posted.status, last_error=error
        )


__all__ = ["Destination", "Render", "Sender"]
