"""What a reader at a terminal is shown of the log."""

from __future__ import annotations

import logging

import pytest

from app.telemetry.sentences import Sentences


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"hint": "Other transactions use the tables.", "seconds": 3}, "Other transactions use the tables."),
        ({"saga": "s-1", "count": 2}, "something_happened saga=s-1 count=2"),
        ({}, "something_happened"),
    ],
)
def test_an_event_is_shown_by_its_hint_or_with_its_fields(fields: dict[str, object], shown: str) -> None:
    record = logging.makeLogRecord({"msg": "something_happened", **fields})
    assert Sentences().format(record) == shown
