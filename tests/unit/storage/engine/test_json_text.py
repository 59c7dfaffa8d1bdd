"""The quick encoder stores what Python's own would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.saga.model import step
from app.saga.model.errors import LogRefused
from app.storage.engine.json_text import encode

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON_VALUES)
def test_whatever_is_json_is_the_same_value(value: Any) -> None:
    """Also huge integers and null."""
    assert json.loads(encode(value)) == json.loads(step.encode(value)) == value


def test_what_orjson_can_not_write_is_written() -> None:
    """A lone surrogate stays escaped, and a huge integer is exact."""
    assert encode({"lone": "\ud800", "huge": 2**70}) == f'{{"lone":"\\ud800","huge":{2**70}}}'


@dataclass
class Row:
    id: int


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), {1, 2}, b"bytes", datetime(2026, 1, 1, tzinfo=UTC), Row(1), object()],
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    """Also what orjson would write as null, or in a way of its own."""
    for data in (value, {"result": {"value": value}}):
        with pytest.raises(LogRefused):
            encode(data)
