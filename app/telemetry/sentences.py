"""Logs for somebody who reads them as they come, at a command or a sandbox: sentences, not events' bare names."""

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
    """Have the service's warnings shown on standard error for as long as the process lives.

    Not for a process that serves the API, which sets up logs of its own (`logs`).
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Sentences())
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("app")
    logger.handlers = [handler]
    logger.propagate = False
