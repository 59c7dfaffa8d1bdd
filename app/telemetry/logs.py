"""Logs: JSON lines, or readable ones on a terminal. Never a customer's data: ids, codes and times alone."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.events import EventType, SagaEvent
from app.telemetry.log_lines import TRACE, JsonLines, ReadableLines, log_line
from app.telemetry.log_writer import BUFFER_BYTES, log_writer_for
from app.telemetry.trace_context import trace_id_of

SAGA_EVENT_LEVELS = {
    EventType.SAGA_STARTED: logging.DEBUG,
    EventType.STEP_SUCCEEDED: logging.DEBUG,
    EventType.STEP_COMPENSATED: logging.DEBUG,
    EventType.SAGA_COMPLETED: logging.INFO,
    EventType.SAGA_COMPENSATED: logging.INFO,
    EventType.SAGA_RECOVERED: logging.WARNING,
    EventType.COMPENSATION_FAILED: logging.ERROR,
    EventType.SAGA_NEEDS_ATTENTION: logging.ERROR,
}
"""Any other event is a warning."""

_sagas = logging.getLogger("app.saga")


def set_up_logging(level: str, *, access: bool = True, buffer_bytes: int = BUFFER_BYTES) -> None:
    """Send the logs to standard error: the service's own at `level` (debug, info, warning or error) and above.

    They are written by a thread; while nobody takes them, `buffer_bytes` of them wait, and more are dropped.
    What libraries log of themselves takes the same way: Python's own would write to standard error at once.

    The server's come in the same form; its own line for each request, which shows paths and queries, does
    not: `app.access` takes its place, where `access` wants it.
    """
    handler = log_writer_for(sys.stderr, buffer_bytes=buffer_bytes)
    handler.setFormatter(ReadableLines() if sys.stderr.isatty() else JsonLines())
    logging.lastResort = handler
    app = logging.getLogger("app")
    app.handlers = [handler]
    app.propagate = False
    app.setLevel(level.upper())
    logging.getLogger("app.access").setLevel(logging.NOTSET if access else logging.CRITICAL)
    server = logging.getLogger("uvicorn")
    server.handlers = [handler]
    server.propagate = False
    requests = logging.getLogger("uvicorn.access")
    requests.handlers, requests.propagate = [], False


def log_with_trace(run: SagaInstance) -> None:
    """Have each line that a saga's task logs carry its trace's id; be called in that task."""
    TRACE.set(trace_id_of(run.saga.input.get("traceparent"), run.saga.id))  # which ends with the task


def log_events(saga_id: str, events: Sequence[SagaEvent]) -> None:
    """Log a saga's events: an `Observer` of the core."""
    for event in events:
        _log_event(saga_id, event)


def _log_event(saga_id: str, event: SagaEvent) -> None:
    level = SAGA_EVENT_LEVELS.get(event.type, logging.WARNING)
    if not _sagas.isEnabledFor(level):
        return
    error = event.data.get("error") or {}
    told = {
        "event": event.type.value,
        "saga": saga_id,
        "seq": event.seq,
        "step": event.step,
        "attempt": event.attempt,
        "duration_ms": event.data.get("duration_ms"),
        "code": error.get("code"),
        "next_action_at": event.data.get("next_action_at"),
    }
    log_line(_sagas, level, {name: value for name, value in told.items() if value is not None})
