"""traceparent, as W3C Trace Context has it."""

from __future__ import annotations

import pytest

from app.telemetry.trace_context import accepted_traceparent

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("value", [VALID, f"01-{TRACE}-{PARENT}-00", f"01-{TRACE}-{PARENT}-00-more"])
def test_a_valid_one_is_kept(value: str) -> None:
    assert accepted_traceparent([value]) == value


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [VALID, VALID],
        [""],
        [VALID.upper()],
        [f"ff-{TRACE}-{PARENT}-01"],
        [f"00-{'0' * 32}-{PARENT}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"{VALID}-more"],
        [f"01-{TRACE}-{PARENT}-01-{'x' * 200}"],
        [VALID + "\n"],
    ],
)
def test_one_that_is_not_is_no_trace(headers: list[str]) -> None:
    assert accepted_traceparent(headers) is None
