"""What the service's code logs while a command runs, as a sentence on standard error and not as an event's bare name."""

from __future__ import annotations

import logging
from typing import Any

from app.telemetry.log_fields import fields_of


class Sentences(logging.Formatter):
    """Shows an event's `hint` where it has one, else its name and fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = fields_of(record)
        if "hint" in fields:
            return str(fields["hint"])
        return " ".join([record.getMessage(), *(f"{name}={value}" for name, value in fields.items())])


def show_warnings() -> None:
    """Have warnings shown for as long as the process lives. Not for `serve`, which sets up logs of its own."""
    handler = logging.StreamHandler()
    handler.setFormatter(Sentences())
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("app")
    logger.handlers = [handler]
    logger.propagate = False
