"""Delivers: one loop for each endpoint, so that a slow receiver holds up only itself.

every poll   fan out ──▶ claim ──▶ post, many at once ──▶ settle; again at once while there is more
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.operations.reading import SagaReader
from app.operations.saga_view import SagaView
from app.saga.engine.outage_reporter import OutageReporter
from app.saga.engine.tasks import end_tasks
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

GONE = 410

Render = Callable[[OutboxEvent, SagaView], bytes]
"""Makes an event's body: the same bytes each time, as it is made of the trail up to the event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """An endpoint and the way to it."""

    endpoint: Endpoint
    poster: WebhookClient


class Sender:
    """The loops beside the requests. `owner` names this process in its claims."""

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
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Make new endpoints known, and begin to deliver. Raise `LogUnavailable` where the database is away."""
        names = [line.endpoint.name for line in self._lines]
        await self._deliveries.register(names, now=self._clock.now())
        self._tasks = [asyncio.create_task(self._serve(line)) for line in self._lines]

    async def end(self, seconds: float = 0.0) -> None:
        """Begin no delivery more, wait at most `seconds` for those under way, and give back the rest."""
        self._leaving.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        cut_off = [task for task in self._tasks if not task.done()]
        await end_tasks(cut_off)
        if cut_off:
            with contextlib.suppress(LogError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._deliveries.release(self._owner)
        self._tasks = []
        for line in self._lines:
            await line.poster.aclose()

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

    async def _serve(self, line: Destination) -> None:
        outage = OutageReporter(_logger, "webhook_delivery", endpoint=line.endpoint.name)
        while not self._leaving.is_set():
            try:
                done = await self.deliver(line)
            except Exception as error:  # noqa: BLE001 (the endpoint would be told nothing more)
                outage.failed(error, expected=isinstance(error, LogError))
                done = 0
            else:
                outage.recovered()
            if not done:
                await self._pause()

    async def _pause(self) -> None:
        leaving = asyncio.ensure_future(self._leaving.wait())
        pause = asyncio.ensure_future(self._clock.sleep(self._poll_seconds))
        try:
            await asyncio.wait({leaving, pause}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            pause.cancel()


__all__ = ["Destination", "Render", "Sender"]
