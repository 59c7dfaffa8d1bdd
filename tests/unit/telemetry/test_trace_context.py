"""Which trace a call belongs to."""

from __future__ import annotations

import re

import pytest

from app.telemetry.trace_context import traceparent_for

SPAN = "00f067aa0ba902b7"
SAGA = "0193b3c8-0000-7000-8000-000000000001"
OWN = f"00-0193b3c8000070008000000000000001-{SPAN}-01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_given_trace_goes_on_under_a_new_span(flags: str) -> None:
    given = f"00-{TRACE}-1111111111111111-{flags}"
    assert traceparent_for(given, SAGA, span_id=SPAN) == f"00-{TRACE}-{SPAN}-{flags}"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-1111111111111111-01",
        f"00-{'0' * 32}-1111111111111111-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-1111111111111111-01",
    ],
)
def test_without_one_the_sagas_id_is_the_trace(given: str | None) -> None:
    assert traceparent_for(given, SAGA, span_id=SPAN) == OWN


@pytest.mark.parametrize("reference", ["first", "00000000-0000-0000-0000-000000000000"])
def test_any_reference_makes_a_valid_trace(reference: str) -> None:
    made = traceparent_for(None, reference, span_id=SPAN)
    assert re.fullmatch(rf"00-(?!0{{32}})[0-9a-f]{{32}}-{SPAN}-01", made)
    assert made == traceparent_for(None, reference, span_id=SPAN)
