"""Logs: JSON lines, or readable ones on a terminal. Never a customer's data: ids, codes and times alone."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.errors import SagaError
from app.saga.model.events import EventType, SagaEvent
from app.telemetry.log_fields import add_fields
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

_logger = structlog.stdlib.get_logger("app.saga")
_sagas = logging.getLogger("app.saga")


def set_up_logging(level: str, *, access: bool = True, buffer_bytes: int = BUFFER_BYTES) -> None:
    """Send the logs to standard error: the service's own at `level` (debug, info, warning or error) and above.

    They are written by a thread; while nobody takes them, `buffer_bytes` of them wait, and more are dropped.
    What libraries log of themselves takes the same way: Python's own would write to standard error at once.

    The server's come in the same form; its own line for each request, which tells paths and queries, does
    not: `app.access` takes its place, where `access` wants it.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    readable = sys.stderr.isatty()
    handler = log_writer_for(sys.stderr, buffer_bytes=buffer_bytes)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *shared,
                structlog.stdlib.PositionalArgumentsFormatter(),
                add_fields,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_without_values),
                structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer(),
            ],
        )
    )
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


def _without_values(exc_info: structlog.typing.ExcInfo) -> str:
    """Return a traceback without its errors' messages, which may hold what a customer sent; the core's own never do."""
    told, seen = [], set()
    error: BaseException | None = exc_info[1]
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        words = f": {error}" if isinstance(error, SagaError) else ""
        told.append("".join(traceback.format_tb(error.__traceback__)) + name + words)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\ncaused by\n\n".join(told)


@contextmanager
def log_with_trace(run: SagaInstance) -> Iterator[None]:
    """Have each line that a saga's task logs carry its trace's id; be entered in that task."""
    trace_id = trace_id_of(run.saga.input.get("traceparent"), run.saga.id)
    structlog.contextvars.bind_contextvars(trace=trace_id)  # which ends with the task
    yield


def log_events(saga_id: str, events: Sequence[SagaEvent]) -> None:
    """Log a saga's events: an `Observer` of the core."""
    for event in events:
        _log_event(saga_id, event)


def _log_event(saga_id: str, event: SagaEvent) -> None:
    level = SAGA_EVENT_LEVELS.get(event.type, logging.WARNING)
    if not _sagas.isEnabledFor(level):  # asked of structlog it would cost ten times as much
        return
    error = event.data.get("error") or {}
    fields = {
        "saga": saga_id,
        "seq": event.seq,
        "step": event.step,
        "attempt": event.attempt,
        "duration_ms": event.data.get("duration_ms"),
        "code": error.get("code"),
        "next_action_at": event.data.get("next_action_at"),
    }
    _logger.log(
        level,
        event.type.value,
        **{name: value for name, value in fields.items() if value is not None},
    )
