"""The sender of webhooks, with a client for each endpoint."""

from __future__ import annotations

from app.api.schemas.event_body import event_bytes
from app.operations.reading import SagaReader
from app.process.ids import new_owner
from app.saga.ports.clock import SystemClock
from app.settings.settings import Settings
from app.storage import Storage
from app.webhooks import RetrySchedule, WebhookSender
from app.webhooks.sender import MAX_CONCURRENT, Destination


def open_sender(
    settings: Settings, storage: Storage, reader: SagaReader, clock: SystemClock
) -> WebhookSender:
    """Return the sender; it is not started."""
    timeout = settings.webhook_timeout_seconds
    return WebhookSender(
        storage.deliveries,
        storage.outbox,
        reader,
        _destinations(settings, timeout) if settings.webhook_endpoints else (),
        render=event_bytes,
        schedule=RetrySchedule(tuple(map(float, settings.webhook_retry_delays.split(",")))),
        clock=clock,
        owner=new_owner(),
        timeout=timeout,
        poll_seconds=settings.webhook_poll_seconds,
    )


def _destinations(settings: Settings, timeout: float) -> list[Destination]:
    from app.webhooks.client import WebhookClient  # noqa: PLC0415 - aiohttp is slow to import

    return [
        Destination(
            endpoint=endpoint,
            client=WebhookClient(
                endpoint.url,
                timeout=timeout,
                max_connections=MAX_CONCURRENT,
                allow_private=settings.webhooks_allow_private,
            ),
        )
        for endpoint in settings.webhook_endpoints
    ]
