"""What operators and clients of the feed ask of the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.access.principal import Principal
from app.operations.reading import SagaReader
from app.operations.saga_view import SagaView
from app.saga.model.errors import SagaError
from app.saga.ports.clock import Clock
from app.settings.webhook_endpoints import Endpoint
from app.storage.outbox.deliveries import SqlDeliveries
from app.storage.outbox.delivery_rows import Delivery, DeliveryStatus
from app.storage.outbox.endpoint_status import EndpointStatus
from app.storage.outbox.feed import FeedCursor, OutboxEvent, SqlOutbox


class UnknownDelivery(SagaError):
    """There is no such endpoint or delivery."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedItem:
    """An event with its saga as it was then; None where the saga has been deleted. `cursor` is its position."""

    event: OutboxEvent
    view: SagaView | None
    cursor: FeedCursor


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointView:
    """An endpoint and its status; `lag_seconds` is the age of the oldest event not yet delivered."""

    endpoint: Endpoint
    status: EndpointStatus
    lag_seconds: float


class WebhookService:
    """The feed, the endpoints and their deliveries. Every method may raise `LogUnavailable`."""

    def __init__(
        self,
        outbox: SqlOutbox,
        deliveries: SqlDeliveries,
        reader: SagaReader,
        endpoints: Sequence[Endpoint],
        *,
        clock: Clock,
    ) -> None:
        self._outbox = outbox
        self._deliveries = deliveries
        self._reader = reader
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._clock = clock

    async def events(self, caller: Principal, after: FeedCursor, *, limit: int) -> list[FeedItem]:
        """Return at most `limit` events after a position, of the sagas that this principal sees.

        No event ever appears before a position that was returned earlier.
        """
        scope = None if caller.all_tenants else caller.tenant
        events = await self._outbox.feed(after, caller=scope, limit=limit)
        sagas = await self._outbox.sagas([one.event.saga_id for one in events])
        items = []
        for one in events:
            found = sagas.get(one.event.saga_id)
            view = None if found is None else self._reader.as_of(found, one.event.seq)
            items.append(FeedItem(event=one.event, view=view, cursor=one.cursor))
        return items

    async def endpoints(self) -> list[EndpointView]:
        """Return the configured endpoints with their status."""
        now = self._clock.now()
        statuses = await self._deliveries.statuses(list(self._endpoints.values()))
        return [
            EndpointView(
                endpoint=self._endpoints[one.name],
                status=one,
                lag_seconds=_age(one.oldest_waiting_at, now),
            )
            for one in statuses
        ]

    async def deliveries(
        self, *, status: DeliveryStatus | None, endpoint: str | None, before: int | None, limit: int
    ) -> list[Delivery]:
        """Return at most `limit` deliveries with an id below `before`, newest first."""
        return await self._deliveries.list_deliveries(
            status=status, endpoint=endpoint, before=before, limit=limit
        )

    async def redeliver(self, delivery_id: int) -> Delivery:
        """Send a delivery again, at once and with new attempts. Raise `UnknownDelivery`."""
        delivery = await self._deliveries.redeliver(delivery_id, now=self._clock.now())
        if delivery is None:
            raise UnknownDelivery
        return delivery

    async def enable(self, name: str) -> EndpointView:
        """Resume deliveries to an endpoint, from where they stopped. Raise `UnknownDelivery`."""
        if name not in self._endpoints:
            raise UnknownDelivery
        await self._deliveries.enable(name, now=self._clock.now())
        return next(one for one in await self.endpoints() if one.endpoint.name == name)


def _age(at: datetime | None, now: datetime) -> float:
    return 0.0 if at is None else max(0.0, (now - at).total_seconds())
