"""The fields that a log call gives as `extra`."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from app.saga.model.errors import LogUnavailable
from app.telemetry.log_fields import MAX_CHARACTERS, MAX_ITEMS
from app.telemetry.logs import set_up_logging
from tests.unit.telemetry.conftest import Lines

_logger = logging.getLogger("app.saga.engine.recovery")


def test_an_events_fields_are_members_of_its_line(lines: Lines) -> None:
    _logger.info("sagas_claimed", extra={"count": 12, "saga": "a", "steps": ("payment", "shipping")})
    (line,) = lines.told(_logger.name)
    del line["timestamp"]
    assert line == {
        "event": "sagas_claimed",
        "logger": _logger.name,
        "level": "info",
        "count": 12,
        "saga": "a",
        "steps": ["payment", "shipping"],
    }


def test_an_event_names_itself(lines: Lines) -> None:
    """No field takes the place of its name, level, logger or time."""
    _logger.info("sagas_claimed", extra={"event": "x", "level": "x", "logger": "x", "timestamp": "x"})
    (line,) = lines.told(_logger.name)
    assert (line["event"], line["level"], line["logger"]) == ("sagas_claimed", "info", _logger.name)
    assert line["timestamp"] != "x"


def test_an_error_is_shown_without_what_it_may_quote(lines: Lines) -> None:
    """The core's own errors never carry what a customer sent; any other's message may."""
    _logger.warning("a", extra={"error": LogUnavailable("The database does not answer.")})
    _logger.warning("b", extra={"error": ValueError("4111 1111 1111 1111")})
    told = [line["error"] for line in lines.told(_logger.name)]
    assert told == ["LogUnavailable: The database does not answer.", "ValueError"]


def test_a_field_is_bounded(lines: Lines) -> None:
    many = list(range(MAX_ITEMS + 5))
    _logger.info("a", extra={"text": "x" * 10_000, "many": many, "body": {"name": "Ada"}})
    (line,) = lines.told(_logger.name)
    assert line["text"] == "x" * MAX_CHARACTERS + "…"
    assert line["many"] == [*range(MAX_ITEMS), "… 5 more"]
    assert line["body"] == "dict"


def test_uvicorns_coloured_message_is_not_repeated(lines: Lines) -> None:
    server = logging.getLogger("uvicorn.error")
    server.warning("Started server process [%d]", 7, extra={"color_message": "\x1b[36mStarted"})
    (line,) = lines.told(server.name)
    assert line["event"] == "Started server process [7]"
    assert "color_message" not in line


@pytest.mark.usefixtures("lines")
def test_a_terminal_shows_the_fields_behind_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    set_up_logging("debug")
    _logger.info("sagas_claimed", extra={"count": 12})
    line = terminal.getvalue()
    assert "sagas_claimed" in line
    assert "count" in line
    assert "12" in line
