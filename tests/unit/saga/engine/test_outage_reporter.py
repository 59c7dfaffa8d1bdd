"""A loop tells of its trouble when it changes, and never once for each try."""

from __future__ import annotations

import logging

import pytest

from app.saga.engine.outage_reporter import WAYS, OutageReporter
from app.saga.model.errors import LogUnavailable

_logger = logging.getLogger(__name__)


def test_the_same_trouble_is_told_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    trouble = OutageReporter(_logger, "the lease could not be renewed")
    for _ in range(100):
        trouble.met(LogUnavailable("away"), foreseen=True)
    for _ in range(100):
        trouble.over()
    assert caplog.messages == [
        "the lease could not be renewed: away",
        "no longer: the lease could not be renewed",
    ]


def test_a_new_trouble_is_told_and_what_nobody_foresaw_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However they take turns."""
    trouble = OutageReporter(_logger, "nothing could be taken over")
    for _ in range(10):
        trouble.met(LogUnavailable("away"), foreseen=True)
        trouble.met(KeyError("a bug"), foreseen=False)
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


def test_trouble_that_is_never_the_same_is_not_told_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    trouble = OutageReporter(_logger, "it could not be done")
    for number in range(100):
        trouble.met(LogUnavailable(f"try {number}"), foreseen=True)
    assert len(caplog.messages) == WAYS
