"""An outage is logged when it starts, changes and ends, never for each attempt."""

from __future__ import annotations

import logging

import pytest

from app.saga.background.outage_reporter import MAX_CAUSES, OutageReporter
from app.saga.model.errors import LogUnavailable

_logger = logging.getLogger(__name__)


def test_an_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = OutageReporter(_logger, "lease_renewal", saga="s-1")
    for _ in range(100):
        outage.failed(LogUnavailable("no connection"), expected=True)
    for _ in range(100):
        outage.recovered()
    assert caplog.messages == ["lease_renewal_failed", "lease_renewal_recovered"]
    assert vars(caplog.records[0])["error"] == "no connection"
    assert [vars(record)["saga"] for record in caplog.records] == ["s-1", "s-1"]


def test_a_new_cause_is_logged_and_an_unexpected_one_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also when the causes alternate."""
    outage = OutageReporter(_logger, "saga_claim")
    for _ in range(10):
        outage.failed(LogUnavailable("no connection"), expected=True)
        outage.failed(KeyError("a bug"), expected=False)
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


def test_causes_that_never_repeat_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    outage = OutageReporter(_logger, "poll")
    for number in range(100):
        outage.failed(LogUnavailable(f"attempt {number}"), expected=True)
    assert len(caplog.messages) == MAX_CAUSES
