"""Prometheus metrics: outcomes of sagas, answers to steps, the journal, HTTP requests.

The gauges of the database are in `backlog_metrics`.

Every label has a closed set of values: a value that isn't known is `other`. No id and no customer's data.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from app.saga.model.events import EventType, SagaEvent
from app.saga.ports.log import StoredSaga
from app.saga.ports.queries import BacklogStats
from app.settings.webhook_endpoints import Lag
from app.telemetry.access_log import METHODS
from app.telemetry.backlog_metrics import BacklogMetrics, no_endpoints
from app.telemetry.multiprocess import forget_ended_workers, sum_of_workers
from app.telemetry.tallies import CounterTally, HistogramTally, Tallies

_logger = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Unfinished sagas whose start is kept, for their duration."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86_400)
_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

ANSWERS: Mapping[EventType, tuple[str, str]] = {
    EventType.STEP_SUCCEEDED: ("execute", "succeeded"),
    EventType.STEP_RETRIED: ("execute", "retried"),
    EventType.STEP_FAILED: ("execute", "failed"),
    EventType.STEP_UNKNOWN: ("execute", "unknown"),
    EventType.STEP_COMPENSATED: ("compensate", "succeeded"),
    EventType.COMPENSATION_RETRIED: ("compensate", "retried"),
    EventType.COMPENSATION_FAILED: ("compensate", "failed"),
}
"""The action and outcome of a step's call, by the event that records them."""

_ENDS: Mapping[EventType, str] = {
    EventType.SAGA_COMPLETED: "completed",
    EventType.SAGA_COMPENSATED: "compensated",
    EventType.SAGA_NEEDS_ATTENTION: "needs_attention",
}


Across = Literal["livesum", "livemin", "livemax"]

REFRESHED_EVERY_SECONDS = 1.0
"""Maximum age of a worker's figures when another worker is scraped."""


@dataclass(kw_only=True)
class Gauges:
    """Figures read at each scrape: name, help, how to read it, and how the figures of several workers are combined."""

    asked: dict[str, tuple[str, Callable[[], float], Across]] = field(default_factory=dict)

    def add(self, name: str, meaning: str, ask: Callable[[], float], *, across: Across = "livesum") -> None:
        """Have a figure read at each scrape."""
        self.asked[name] = (meaning, ask, across)


class Metrics(Lifecycle):
    """The metrics of one process, or of all workers of a server where they have a `folder` to count in.

    `backlog` counts the unfinished sagas in the database, and `lags` returns how far behind the webhook endpoints are.
    """

    def __init__(
        self,
        *,
        steps: Iterable[str],
        problems: Iterable[str],
        backlog: Callable[[], Awaitable[BacklogStats]],
        lags: Callable[[], Awaitable[Sequence[Lag]]] = no_endpoints,
        folder: Path | None = None,
    ) -> None:
        super().__init__()
        registry = CollectorRegistry()
        self._folder = folder
        self._own = registry
        self.registry = registry
        self._tallies = tallies = Tallies()
        if folder is not None:
            self.registry = CollectorRegistry()
        self.registry.register(tallies)
        if folder is not None:
            sum_of_workers(self.registry, folder)
        self._asked: list[tuple[Gauge, Callable[[], float]]] = []
        self._steps = frozenset(steps)
        self._problems = frozenset(problems)
        self._backlog = BacklogMetrics(self.registry, backlog=backlog, lags=lags)
        self._began: OrderedDict[str, datetime] = OrderedDict()

        def counter(name: str, meaning: str) -> Counter:
            return Counter(f"checkout_{name}", meaning, registry=registry)

        def histogram(name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"checkout_{name}", meaning, buckets=buckets, registry=registry)

        def counters(name: str, meaning: str, *labels: str) -> Callable[..., CounterTally]:
            return tallies.counters(Counter(f"checkout_{name}", meaning, labels, registry=registry))

        def histograms(
            name: str, meaning: str, buckets: tuple[float, ...], *labels: str
        ) -> Callable[..., HistogramTally]:
            made = Histogram(f"checkout_{name}", meaning, labels, buckets=buckets, registry=registry)
            return tallies.histograms(made, buckets)

        self._started = tallies.counter(counter("sagas_started", "Sagas started by this process."))
        self._finished = counters(
            "sagas_finished",
            "Sagas that ended in this process, or stopped for an operator, by outcome.",
            "outcome",
        )
        self._lasted = histograms(
            "saga_duration_seconds",
            "Time from start to end of sagas that did both in this process.",
            _SECONDS,
            "outcome",
        )
        self._answers = counters(
            "step_answers", "Answers to the calls of steps.", "step", "action", "outcome"
        )
        self._took = histograms(
            "step_duration_seconds", "Duration of a step's call.", _QUICK, "step", "action"
        )
        self._unknown = counters(
            "unknown_outcomes", "Calls of which it is unknown whether they took effect.", "step"
        )
        self._taken_over = counter("takeovers", "Sagas taken over from a replica that had stopped.")
        self._redacted = counter(
            "sagas_redacted", "Finished sagas whose customer's data this process redacted."
        )
        self._deleted = counter("sagas_deleted", "Finished sagas that this process deleted.")
        self._log_dropped = counter(
            "log_lines_dropped", "Log lines dropped because the reader of the log was too slow."
        )
        self._batch_size = histogram("journal_batch_size", "Entries per transaction of the journal.", _SIZES)
        self._batch_wait = histogram(
            "journal_wait_seconds", "How long the first entry of a batch waited.", _QUICK
        )
        self._batch_took = histogram("journal_commit_seconds", "Duration of a batch's commit.", _QUICK)
        self._requests = counters(
            "http_requests", "HTTP requests answered, by route.", "route", "method", "status"
        )
        self._request_took = histograms(
            "http_request_seconds", "Duration of an HTTP request.", _SECONDS, "route"
        )
        self._refused = counters(
            "problems", "Requests refused, by problem. Failed checkouts are not counted.", "problem"
        )
        for problem in sorted(self._problems):
            self._refused(problem)
        for outcome in _ENDS.values():
            self._finished(outcome)
        # A counter that appears with its first event has no rate for it: each is there from the start.
        for step in sorted(self._steps):
            self._unknown(step)
            for action, outcome in ANSWERS.values():
                self._answers(step, action, outcome)

    def observe(self, saga_id: str, events: Sequence[SagaEvent]) -> None:
        """Count events: an `Observer` of the core."""
        for event in events:
            self._count(saga_id, event)

    def _count(self, saga_id: str, event: SagaEvent) -> None:
        kind = event.type
        if kind in ANSWERS:
            self._count_answer(event, *ANSWERS[kind])
        elif kind is EventType.SAGA_STARTED:
            self._started.inc()
            self._began[saga_id] = event.at
            if len(self._began) > REMEMBERED:
                self._began.popitem(last=False)
        elif kind in _ENDS:
            self._finished(_ENDS[kind]).inc()
            if (began := self._began.pop(saga_id, None)) is not None:
                self._lasted(_ENDS[kind]).observe((event.at - began).total_seconds())

    def _count_answer(self, event: SagaEvent, action: str, outcome: str) -> None:
        step = event.step if event.step in self._steps else "other"
        self._answers(step, action, outcome).inc()
        took = event.data.get("duration_ms")
        if isinstance(took, int | float):
            self._took(step, action).observe(took / 1000)
        if outcome == "unknown" or event.data.get("outcome") == "unknown":
            self._unknown(step).inc()

    def resumed(self, stored: StoredSaga) -> None:
        """Count a saga that this process resumes, if its owner had stopped."""
        if stored.events[-1].type is EventType.SAGA_RECOVERED:
            self._taken_over.inc()

    def redacted(self, sagas: int) -> None:
        """Count old sagas that lost their customer's data."""
        self._redacted.inc(sagas)

    def deleted(self, sagas: int) -> None:
        """Count old sagas that were deleted."""
        self._deleted.inc(sagas)

    def log_lines_dropped(self, lines: int) -> None:
        """Count log lines that were dropped; from any thread."""
        self._log_dropped.inc(lines)

    def batch(self, size: int, waited: float, took: float) -> None:
        """Count a batch of the journal; times in seconds."""
        self._batch_size.observe(size)
        self._batch_wait.observe(waited)
        self._batch_took.observe(took)

    def answered(self, route: str, method: str, status: int, took: float) -> None:
        """Count an answer; `route` is the path's template, never the path."""
        method = method if method in METHODS else "other"
        self._requests(route, method, f"{status // 100}xx").inc()
        self._request_took(route).observe(took)

    def refused(self, problem: str) -> None:
        """Count a problem by its name in the table."""
        self._refused(problem if problem in self._problems else "other").inc()

    def watch(self, gauges: Gauges) -> None:
        """Read these at each scrape."""
        for name, (meaning, ask, across) in gauges.asked.items():
            gauge = Gauge(f"checkout_{name}", meaning, registry=self._own, multiprocess_mode=across)
            if self._folder is None:
                gauge.set_function(ask)
            else:
                self._asked.append((gauge, ask))

    async def _on_start(self) -> None:
        if self._folder is not None:
            outage = OutageReporter(_logger, "metrics_refresh")
            self._run_loop(BackgroundLoop(self._turn, outage, retry_seconds=REFRESHED_EVERY_SECONDS))

    async def _on_stop(self) -> None:
        self._refresh()

    async def _turn(self) -> float:
        self._refresh()
        return REFRESHED_EVERY_SECONDS

    def _refresh(self) -> None:
        for gauge, ask in self._asked:
            gauge.set(ask())
        self._tallies.hand_over()

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its media type: OpenMetrics if `accept` asks for it, else Prometheus's text."""
        await self._backlog.refresh()
        if self._folder is not None:
            self._refresh()
            forget_ended_workers(self._folder)
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type
