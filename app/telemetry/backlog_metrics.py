"""Gauges of the database: unfinished sagas, and how far behind the webhook endpoints are.

They are the same for all replicas, so an alert takes the maximum over them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Gauge, values

from app.saga.model.errors import LogUnavailable
from app.saga.ports.queries import BacklogStats
from app.settings.webhook_endpoints import Lag

BACKLOG_CACHE_SECONDS = 5.0
"""How old the figures may be, however often the service is scraped."""

BACKLOG_TIMEOUT_SECONDS = 2.0


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
    """Gauges that are read from the database, at most once in `BACKLOG_CACHE_SECONDS`.

    `backlog` counts the unfinished sagas, and `lags` returns how far behind the webhook endpoints are.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        backlog: Callable[[], Awaitable[BacklogStats]],
        lags: Callable[[], Awaitable[Sequence[Lag]]] = no_endpoints,
    ) -> None:
        self._backlog = backlog
        self._lags = lags
        self._fresh_until = 0.0
        self._refreshing = asyncio.Lock()

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return _DatabaseGauge(f"checkout_{name}", meaning, labels, registry=registry)

        self._sagas = gauge("sagas", "Unfinished sagas in the database, by status.", "status")

        def renamed(old: str, name: str, meaning: str) -> tuple[Gauge, Gauge]:
            return gauge(name, meaning), gauge(old, f"Deprecated: use checkout_{name}.")

        self._oldest_due = renamed(
            "overdue_seconds",
            "oldest_due_age_seconds",
            "For how long the oldest saga has been due that no live replica owns.",
        )
        self._unscheduled = renamed(
            "sagas_without_wakeup",
            "sagas_unscheduled",
            "Unfinished sagas that nothing will ever resume. Anything but 0 is a fault.",
        )
        self._deferred = renamed(
            "sagas_put_off",
            "sagas_deferred",
            "Unfinished sagas that a replica could not understand, and deferred. Normally 0.",
        )
        self._lag = gauge(
            "outbox_lag_seconds",
            "Age of the oldest event that a webhook endpoint has not received.",
            "endpoint",
        )
        self._disabled = gauge(
            "webhook_disabled", "1 while an endpoint gets nothing until an operator enables it.", "endpoint"
        )
        self._up = renamed(
            "census_up",
            "backlog_up",
            "1 if the gauges of sagas and webhooks could be read from the database.",
        )

    async def refresh(self) -> None:
        """Read the figures, unless they are fresh. What can't be read is exposed as NaN, or not at all."""
        loop = asyncio.get_running_loop()
        async with self._refreshing:
            if loop.time() < self._fresh_until:
                return
            self._fresh_until = loop.time() + BACKLOG_CACHE_SECONDS
            try:
                async with asyncio.timeout(BACKLOG_TIMEOUT_SECONDS):
                    backlog, lags = await self._backlog(), await self._lags()
            except (LogUnavailable, TimeoutError):
                self._clear()
                self._set_all(self._up, 0)
                return
        self._set_all(self._up, 1)
        for status, count in backlog.unfinished.items():
            self._sagas.labels(status).set(count)
        self._set(backlog.oldest_due_age_seconds, backlog.unscheduled, backlog.deferred)
        for lag in lags:
            self._lag.labels(lag.endpoint).set(lag.seconds)
            self._disabled.labels(lag.endpoint).set(not lag.enabled)

    def _set(self, oldest_due: float, unscheduled: float, deferred: float) -> None:
        self._set_all(self._oldest_due, oldest_due)
        self._set_all(self._unscheduled, unscheduled)
        self._set_all(self._deferred, deferred)

    @staticmethod
    def _set_all(gauges: Iterable[Gauge], value: float) -> None:
        for gauge in gauges:
            gauge.set(value)

    def _clear(self) -> None:
        """Forget the figures: an old one would keep an alert firing, or from firing."""
        for known in (self._sagas, self._lag, self._disabled):
            known.clear()
        self._set(math.nan, math.nan, math.nan)
