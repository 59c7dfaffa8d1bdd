"""A log line is JSON in ASCII, whatever is in it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from app.telemetry.log_lines import JsonLines

_AT = 1_769_765_400.25


def _line(event: object, **fields: Any) -> str:
    record = logging.makeLogRecord(
        {"name": "app.x", "levelname": "INFO", "msg": event, "created": _AT, **fields}
    )
    return JsonLines().format(record)


@pytest.mark.parametrize(
    "value", ["Żółć 🚚", "line\u2028end\n", "\ud83d", 2**70, "\x7f", 0.1, None, [1, "é"]]
)
def test_any_value_is_told_in_ascii_on_one_line(value: object) -> None:
    """A terminal, or a reader of lines, that isn't UTF-8 reads it too."""
    line = _line("said", hint=value)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["hint"] == value


def test_a_line_has_its_event_time_level_and_logger() -> None:
    assert json.loads(_line("said %s")) == {
        "event": "said %s",
        "logger": "app.x",
        "level": "info",
        "timestamp": "2026-01-30T09:30:00.250000Z",
    }
