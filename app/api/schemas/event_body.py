"""Events as webhook endpoints get them (Standard Webhooks), and as the feed shows them; and the endpoints themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.api.http.json_encoding import Body, encode, moment
from app.api.middleware.proxies.base_path import link
from app.api.schemas.saga_body import SagaBody
from app.api.schemas.saga_json import Shown, saga_json
from app.operations.saga_view import SagaView
from app.settings.webhook_endpoints import EventName
from app.storage.outbox.delivery_rows import Delivery, DeliveryStatus
from app.storage.outbox.feed import OutboxEvent
from app.webhooks.service import EndpointView, FeedItem


@dataclass(frozen=True, kw_only=True)
class EventBody:
    """How a saga ended."""

    id: Annotated[
        str, Field(description="The same at every delivery, as `webhook-id`: ignore an event that you have.")
    ]
    type: EventName
    timestamp: datetime
    data: Annotated[
        SagaBody | None, Field(description="The saga as it was then; null once it is no longer stored.")
    ]


@dataclass(frozen=True, kw_only=True)
class EventPageBody:
    """Events in a stable order: none ever appears before a cursor that was returned."""

    data: list[EventBody]
    next: Annotated[
        str, Field(description="Send it as `after` to get the next events, also if `data` is empty.")
    ]
    more: Annotated[bool, Field(description="Whether there are more events already.")]


@dataclass(frozen=True, kw_only=True)
class EndpointBody(Body):
    """An endpoint and its state."""

    name: str
    url: Annotated[str, Field(description="Without its query.")]
    enabled: bool
    reason: Annotated[str | None, Field(description="Why it was disabled.")]
    changed_at: Annotated[datetime, Field(description="When it was last enabled or disabled.")]
    events: list[EventName]
    callers: Annotated[
        list[str] | None, Field(description="The callers whose events it gets; null for all callers.")
    ]
    waiting: Annotated[int, Field(description="Events still to be delivered.")]
    failed: Annotated[int, Field(description="Events whose delivery failed for good.")]
    oldest_waiting_at: datetime | None
    lag_seconds: Annotated[float, Field(description="Age of the oldest event still to be delivered.")]


@dataclass(frozen=True, kw_only=True)
class EndpointsBody(Body):
    """Every configured endpoint."""

    data: list[EndpointBody]


@dataclass(frozen=True, kw_only=True)
class DeliveryBody(Body):
    """One event for one endpoint."""

    id: int
    endpoint: str
    event_id: str
    type: EventName
    saga_url: str
    timestamp: datetime
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_status: Annotated[int | None, Field(description="The HTTP status of the receiver's last answer.")]
    last_error: str | None


@dataclass(frozen=True, kw_only=True)
class DeliveryPageBody(Body):
    """A page of deliveries, the newest first."""

    data: list[DeliveryBody]
    next_cursor: Annotated[str | None, Field(description="null on the last page.")]


def event_bytes(event: OutboxEvent, view: SagaView) -> bytes:
    """Return the body of a delivery: the same bytes each time."""
    return encode({"type": event.type, "timestamp": moment(event.at), "data": saga_json(view)})


def event_json(item: FeedItem) -> Shown:
    """Return an event as the feed shows it: an `EventBody`."""
    event = item.event
    data = None if item.view is None else saga_json(item.view)
    return {"id": event.id, "type": event.type, "timestamp": moment(event.at), "data": data}


def endpoint_body(view: EndpointView) -> EndpointBody:
    """Return an endpoint, without its secrets."""
    endpoint, status = view.endpoint, view.status
    return EndpointBody(
        name=endpoint.name,
        url=endpoint.url.partition("?")[0],
        enabled=status.enabled,
        reason=status.reason,
        changed_at=status.changed_at,
        events=sorted(endpoint.events),
        callers=None if endpoint.callers is None else sorted(endpoint.callers),
        waiting=status.waiting,
        failed=status.failed,
        oldest_waiting_at=status.oldest_waiting_at,
        lag_seconds=round(view.lag_seconds, 3),
    )


def delivery_body(delivery: Delivery) -> DeliveryBody:
    """Return a delivery."""
    return DeliveryBody(
        id=delivery.id,
        endpoint=delivery.endpoint,
        event_id=delivery.event.id,
        type=delivery.event.type,
        saga_url=link(f"/sagas/{delivery.event.saga_id}"),
        timestamp=delivery.event.at,
        status=delivery.status,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at,
        delivered_at=delivery.delivered_at,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
    )
