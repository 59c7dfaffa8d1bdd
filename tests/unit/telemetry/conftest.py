"""A log set up as the service does, that a test can read."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.telemetry.logs import set_up_logging


@dataclass
class Lines:
    """What was logged."""

    stream: io.StringIO

    def told(self, logger: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if line["logger"] == logger]


LOGGERS = ("app", "app.access", "uvicorn", "uvicorn.access", "uvicorn.error")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Give the lines of a log set up as the service does, and leave the loggers as they were."""
    found = Lines(io.StringIO())
    before = [(one, one.level, one.handlers, one.propagate) for one in map(logging.getLogger, LOGGERS)]
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)  # a server that another test ran has set it
    monkeypatch.setattr(sys, "stderr", found.stream)
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    set_up_logging("debug")
    yield found
    for logger, level, handlers, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
