"""Traces, the gauges of a process, and the count of dropped log lines."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from app.operations.event_streams import EventStreams
from app.saga.engine.lease import Lease
from app.saga.engine.runner import SagaRunner
from app.saga.engine.saga_instance import SagaInstance
from app.saga.ports.clock import SystemClock
from app.settings.settings import Settings
from app.storage import Storage
from app.telemetry.log_writer import the_log_writer
from app.telemetry.logs import log_with_trace
from app.telemetry.metrics import Gauges, Metrics

if TYPE_CHECKING:
    from app.telemetry.traces import Traces


_logger = logging.getLogger(__name__)


class TracesMissing(RuntimeError):
    """Traces are switched on, and can't be sent."""


def open_traces(settings: Settings, clock: SystemClock) -> Traces | None:
    """Return the traces of this process, or None where they are off. Raise `TracesMissing` where they can't be sent."""
    if not settings.traced:
        return None
    try:
        from app.telemetry.traces import Traces  # noqa: PLC0415 (an optional extra)

        return Traces.exporting(now=clock.now)
    except ImportError as error:
        raise TracesMissing(
            f"Traces need the extra `traces` ({error.name} is not installed): pip install "
            "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http, or set CHECKOUT_TRACES=false."
        ) from None
    except ValueError:
        raise TracesMissing(
            "Traces can't be sent, as a variable OTEL_… has a value that OpenTelemetry can't use: correct it, or set "
            "CHECKOUT_TRACES=false."
        ) from None


def traces_or_warning(settings: Settings, clock: SystemClock) -> Traces | None:
    """Return the traces of this process. Raise `TracesMissing` where CHECKOUT_TRACES is true and they can't be sent.

    The platform may set a collector's address by itself: then the service logs a warning and starts without traces.
    """
    try:
        return open_traces(settings, clock)
    except TracesMissing as missing:
        if settings.traces:
            raise
        hint = f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and no traces are sent. {missing}"
        _logger.warning("traces_disabled", extra={"hint": hint})
        return None


_NOTHING = nullcontext()


def around_run(traces: Traces | None, run: SagaInstance) -> AbstractContextManager[None]:
    """Log and trace a run of a saga: called, and entered, in the run's task."""
    log_with_trace(run)
    return traces.around(run) if traces else _NOTHING


def process_gauges(runner: SagaRunner, lease: Lease, storage: Storage, streams: EventStreams) -> Gauges:
    """Return the figures of this process that are read at each scrape."""
    gauges = Gauges()
    gauges.add("in_flight", "Sagas that this process is running.", lambda: runner.in_flight)
    gauges.add(
        "lease_held",
        "1 while this process holds its lease, so may run sagas.",
        lambda: lease.held,
        across="livemin",
    )
    gauges.add(
        "database_up",
        "1 if the database accepted the last write.",
        lambda: not storage.journal.unavailable,
        across="livemin",
    )
    gauges.add(
        "database_away",
        "Deprecated: use checkout_database_up, its inverse.",
        lambda: storage.journal.unavailable,
        across="livemax",
    )
    gauges.add(
        "journal_queue", "Entries that wait to be written to the journal.", lambda: storage.journal.queued
    )
    gauges.add("event_streams", "Open event streams.", lambda: streams.subscribers)
    gauges.add("watchers", "Deprecated: use checkout_event_streams.", lambda: streams.subscribers)
    return gauges


def count_dropped_log_lines(metrics: Metrics) -> None:
    """Count the log lines that were dropped so far, and those dropped from now on."""
    writer = the_log_writer()
    if writer is not None:
        metrics.log_lines_dropped(writer.dropped)
        writer.on_drop = metrics.log_lines_dropped
