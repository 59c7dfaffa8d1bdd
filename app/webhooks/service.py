"""What operators and pullers ask of the outbox."""

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
from app.storage.outbox.deliveries import Delivery, DeliveryStatus, EndpointStatus, SqlDeliveries
from app.storage.outbox.feed import FeedCursor, OutboxEvent, SqlOutbox


class UnknownDelivery(SagaError):
    """There is no such endpoint or delivery."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedItem:
    """An event with its saga as it stood then; None where the saga has left."""

    event: OutboxEvent
    view: SagaView | None
    place: FeedCursor


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointView:
    """An endpoint and how it stands; `lag_seconds` is the age of the oldest event it hasn't got."""

    endpoint: Endpoint
    standing: EndpointStatus
    lag_seconds: float


class WebhookService:
    """Every method may raise `LogUnavailable`."""

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
        """Return at most `limit` events that this caller sees behind a place.

        Nothing ever appears before a place that was returned earlier.
        """
        scope = None if caller.all_tenants else caller.tenant
        events = await self._outbox.feed(after, caller=scope, limit=limit)
        sagas = await self._outbox.sagas([one.event.saga_id for one in events])
        told = []
        for one in events:
            found = sagas.get(one.event.saga_id)
            view = None if found is None else self._reader.as_of(found, one.event.seq)
            told.append(FeedItem(event=one.event, view=view, place=one.place))
        return told

    async def endpoints(self) -> list[EndpointView]:
        """Return the configured endpoints and how they stand."""
        now = self._clock.now()
        standings = await self._deliveries.standings(list(self._endpoints.values()))
        return [
            EndpointView(
                endpoint=self._endpoints[one.name],
                standing=one,
                lag_seconds=_age(one.oldest_waiting_at, now),
            )
            for one in standings
        ]

    async def deliveries(
        self, *, status: DeliveryStatus | None, endpoint: str | None, before: int | None, limit: int
    ) -> list[Delivery]:
        """Return deliveries, the newest first, with an id below `before`."""
        return await self._deliveries.list_deliveries(
            status=status, endpoint=endpoint, before=before, limit=limit
        )

    async def redeliver(self, delivery_id: int) -> Delivery:
        """Have a delivery sent again, at once and with a new budget of attempts. Raise `UnknownDelivery`."""
        delivery = await self._deliveries.redeliver(delivery_id, now=self._clock.now())
        if delivery is None:
            raise UnknownDelivery
        return delivery

    async def enable(self, name: str) -> EndpointView:
        """Send an endpoint everything again, from where it was left. Raise `UnknownDelivery`."""
        if name not in self._endpoints:
            raise UnknownDelivery
        await self._deliveries.enable(name, now=self._clock.now())
        return next(one for one in await self.endpoints() if one.endpoint.name == name)


def _age(at: datetime | None, now: datetime) -> float:
    return 0.0 if at is None else max(0.0, (now - at).total_seconds())
