"""Gauges of the database: unfinished sagas, and how far behind the webhook endpoints are.

They are the same for all replicas, so an alert takes the maximum over them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import CollectorRegistry, Gauge, values

from app.saga.model.errors import LogUnavailable
from app.saga.ports.queries import BacklogStats
from app.settings.webhook_endpoints import Lag

CENSUS_SECONDS = 5.0
"""How old the figures may be, however often the service is scraped."""

CENSUS_TIMEOUT_SECONDS = 2.0


class _DatabaseGauge(Gauge):
    """A gauge that is the same in every worker, so that each exposes its own."""

    def _metric_init(self) -> None:
        self._value = values.MutexValue(  # type: ignore[no-untyped-call]
            self._type, self._name, self._name, self._labelnames, self._labelvalues, self._documentation
        )


async def no_endpoints() -> Sequence[Lag]:
    """Return the lags of a service without webhook endpoints."""
    return ()


class BacklogMetrics:
    """Gauges that are read from the database, at most once in `CENSUS_SECONDS`.

    `census` counts the unfinished sagas, and `lags` returns how far behind the webhook endpoints are.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        census: Callable[[], Awaitable[BacklogStats]],
        lags: Callable[[], Awaitable[Sequence[Lag]]] = no_endpoints,
    ) -> None:
        self._census = census
        self._lags = lags
        self._fresh_until = 0.0
        self._refreshing = asyncio.Lock()

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return _DatabaseGauge(f"checkout_{name}", meaning, labels, registry=registry)

        self._sagas = gauge("sagas", "Unfinished sagas in the database, by status.", "status")
        self._oldest_due = (
            gauge(
                "oldest_due_age_seconds",
                "For how long the oldest saga has been due that no live replica owns.",
            ),
            gauge("overdue_seconds", "Deprecated: use checkout_oldest_due_age_seconds."),
        )
        self._unscheduled = gauge(
            "sagas_without_wakeup",
            "Unfinished sagas that nothing will ever resume. Always 0, or it is a fault.",
        )
        self._deferred = (
            gauge(
                "sagas_deferred",
                "Unfinished sagas that a replica could not understand, and deferred. Normally 0.",
            ),
            gauge("sagas_put_off", "Deprecated: use checkout_sagas_deferred."),
        )
        self._lag = gauge(
            "outbox_lag_seconds",
            "Age of the oldest event that a webhook endpoint has not received.",
            "endpoint",
        )
        self._disabled = gauge(
            "webhook_disabled", "1 while an endpoint gets nothing until an operator enables it.", "endpoint"
        )
        self._up = gauge(
            "census_up", "1 if the gauges of sagas and webhooks could be read from the database."
        )

    async def refresh(self) -> None:
        """Read the figures, unless they are fresh. What can't be read is exposed as NaN, or not at all."""
        loop = asyncio.get_running_loop()
        async with self._refreshing:
            if loop.time() < self._fresh_until:
                return
            self._fresh_until = loop.time() + CENSUS_SECONDS
            try:
                async with asyncio.timeout(CENSUS_TIMEOUT_SECONDS):
                    census, lags = await self._census(), await self._lags()
            except (LogUnavailable, TimeoutError):
                self._up.set(0)
                self._clear()
                return
        self._up.set(1)
        for status, count in census.unfinished.items():
            self._sagas.labels(status).set(count)
        self._set(census.oldest_due_age_seconds, census.unscheduled, census.deferred)
        for lag in lags:
            self._lag.labels(lag.endpoint).set(lag.seconds)
            self._disabled.labels(lag.endpoint).set(not lag.enabled)

    def _set(self, oldest_due: float, unscheduled: float, deferred: float) -> None:
        for gauge in self._oldest_due:
            gauge.set(oldest_due)
        for gauge in self._deferred:
            gauge.set(deferred)
        self._unscheduled.set(unscheduled)

    def _clear(self) -> None:
        """An old figure would hold an alert up, or back."""
        for known in (self._sagas, self._lag, self._disabled):
            known.clear()
        self._set(math.nan, math.nan, math.nan)
