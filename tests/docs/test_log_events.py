"""docs/reference/log-events.md lists every log event; `python -m tests.docs.reference` updates levels and fields."""

from __future__ import annotations

import re

from tests.docs.log_events import LOG_EVENT_ROW, SAGA_EVENT_ROW, log_calls, saga_event_levels
from tests.docs.reference import REFERENCE

PAGE = (REFERENCE / "log-events.md").read_text()


def test_every_event_has_a_literal_name_in_snake_case() -> None:
    """An operator finds the call by searching for the name, and a rule of an alert can rely on it."""
    calls = log_calls()
    assert calls.unnamed == []
    assert [name for name in calls.events if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []
    assert len(calls.events) > 50


def test_every_event_is_listed_once() -> None:
    """And nothing else is listed."""
    listed = [row["name"] for row in LOG_EVENT_ROW.finditer(PAGE)]
    assert sorted(listed) == sorted(log_calls().events)


def test_every_type_of_a_sagas_events_is_listed_once() -> None:
    """The trail's words are log events too."""
    listed = [row["name"] for row in SAGA_EVENT_ROW.finditer(PAGE)]
    assert sorted(listed) == sorted(saga_event_levels())


def test_every_event_has_a_meaning_and_says_what_to_do() -> None:
    """An error leads to a page of the runbook, or says in words what to do."""
    for row in LOG_EVENT_ROW.finditer(PAGE):
        meaning, to_do = (cell.strip() for cell in row["rest"].strip("|").split("|"))
        assert meaning.endswith("."), row["name"]
        assert to_do.endswith("."), row["name"]
        if "| error |" in row[0]:
            assert not to_do.startswith("Nothing"), row["name"]
