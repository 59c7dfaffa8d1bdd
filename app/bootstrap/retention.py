"""The retention of finished sagas."""

from __future__ import annotations

from datetime import timedelta

from app.checkout.redaction import CHECKOUT_REDACTION
from app.operations.retention import Retention
from app.saga.ports.clock import SystemClock
from app.settings.settings import Settings
from app.storage import Storage
from app.storage.retention.retention import SqlRetention


def open_retention(settings: Settings, storage: Storage, clock: SystemClock) -> Retention:
    """Return the retention of a database's finished sagas; it is not started."""

    def days(count: int) -> timedelta | None:
        return timedelta(days=count) if count else None

    return Retention(
        SqlRetention(storage.log, CHECKOUT_REDACTION),
        clock=clock,
        keep_data=days(settings.keep_data_days),
        keep_sagas=days(settings.keep_sagas_days),
        batch=settings.retention_batch,
        pause_seconds=settings.retention_pause_seconds,
        endpoints=[endpoint.name for endpoint in settings.webhook_endpoints],
    )
