"""The fields of a log event: `_logger.info("sagas_claimed", extra={"count": 12})` with the standard library's logging."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import date, datetime

from app.saga.model.errors import SagaError

MAX_CHARACTERS = 500
"""A longer text is cut: a field is for finding an event, not for carrying a document."""

MAX_ITEMS = 20
"""A longer list is cut."""

_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOT_FIELDS = _RECORD | {"event", "color_message"}
"""The second is uvicorn's own copy of its message, with colours."""

Field = str | int | float | bool | None


def fields_of(record: logging.LogRecord) -> dict[str, Field | list[Field]]:
    """Return what a log call gave as `extra`.

    Texts and lists are bounded. An error shows its class, and its message where it is one of the core's, which
    never carry what a customer sent. Anything else, such as a dictionary, shows its class alone.
    """
    return {name: bounded(value) for name, value in vars(record).items() if name not in _NOT_FIELDS}


def bounded(value: object) -> Field | list[Field]:
    """Return a value as a log may show it."""
    if isinstance(value, list | tuple | set | frozenset):
        return [_scalar(one) for one in list(value)[:MAX_ITEMS]] + _rest(value)
    return _scalar(value)


def _scalar(value: object) -> Field:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, SagaError):
        return _cut(f"{type(value).__name__}: {value}")
    if isinstance(value, datetime | date):
        return value.isoformat()
    return _cut(value) if isinstance(value, str) else type(value).__name__


def _cut(text: str) -> str:
    return str(text) if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"


def _rest(values: Collection[object]) -> list[Field]:
    return [f"… {len(values) - MAX_ITEMS} more"] if len(values) > MAX_ITEMS else []
