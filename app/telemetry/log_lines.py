"""A log line as JSON: a dictionary that is written once, by orjson, by any logger.

Most lines are a request's or a saga's. They are dictionaries from the start (`log_line`): no text is formatted, no call
stack looked at, for a line that has neither.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

from app.saga.model.errors import SagaError
from app.telemetry.log_fields import fields_of

TRACE: ContextVar[str | None] = ContextVar("log_trace", default=None)
"""The trace of the saga that the present task runs: each of its lines carries it."""

_BLANK = vars(logging.makeLogRecord({}))


class JsonLines(logging.Formatter):
    """Formats records as JSON lines in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        told = told_of(record)
        told["timestamp"] = datetime.fromtimestamp(record.created, UTC)
        try:
            line = orjson.dumps(told, option=orjson.OPT_UTC_Z)
        except orjson.JSONEncodeError:
            line = b""
        if line.isascii() and line:
            return line.decode("ascii")
        return json.dumps({**told, "timestamp": f"{told['timestamp'].isoformat()[:-6]}Z"}, default=str)


class ReadableLines(logging.Formatter):
    """Formats records for a terminal."""

    def __init__(self) -> None:
        super().__init__()
        from structlog.dev import ConsoleRenderer  # noqa: PLC0415 - with rich, a tenth of the start, for a terminal alone

        self._render = ConsoleRenderer()

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        told = told_of(record)
        told["timestamp"] = f"{datetime.fromtimestamp(record.created, UTC).isoformat()[:-6]}Z"
        return str(self._render(None, record.levelname.lower(), told))


def told_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the members of a record's line, without its time."""
    told = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage(), **fields_of(record)}
    told["logger"] = record.name
    told["level"] = record.levelname.lower()
    if (trace := TRACE.get()) is not None:
        told["trace"] = trace
    if record.exc_info and record.exc_info[1] is not None:
        told["exception"] = without_values(record.exc_info[1])
    return told


def log_line(logger: logging.Logger, level: int, told: dict[str, Any], *, at: float | None = None) -> None:
    """Log a dictionary with its `event` as one line; `at` is when it was, in seconds since 1970.

    The caller has asked whether the level is wanted.
    """
    record = object.__new__(logging.LogRecord)  # whose `__init__` asks the system for what no line shows
    record.__dict__.update(_BLANK)
    record.name, record.levelno, record.levelname = logger.name, level, logging.getLevelName(level)
    record.msg, record.created = told, time.time() if at is None else at
    logger.handle(record)


def without_values(error: BaseException) -> str:
    """Return a traceback without its errors' messages, which may hold what a customer sent; the core's own never do."""
    told, seen = [], set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        name = f"{type(following).__module__}.{type(following).__qualname__}"
        words = f": {following}" if isinstance(following, SagaError) else ""
        told.append("".join(traceback.format_tb(following.__traceback__)) + name + words)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return "\n\ncaused by\n\n".join(told)
