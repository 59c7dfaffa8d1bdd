"""Which JSON values are the same."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.values.canonical_json import _with_plain_numbers, as_written, canonical, spelt_as

numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3) | st.sampled_from(["\x7f", "a:1.5", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def doubles(value: Any) -> Any:
    """Return a value as RFC 8785 reads it: every number a double, and no negative zero."""
    match value:
        case dict():
            return ("object", tuple(sorted((name, doubles(inner)) for name, inner in value.items())))
        case list():
            return ("array", tuple(doubles(inner) for inner in value))
        case bool() | None:
            return ("word", str(value))
        case int() | float():
            return ("number", repr(float(value) + 0.0))
    return ("text", value)


@given(values, values)
def test_two_values_are_the_same_only_where_their_doubles_are(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (doubles(one) == doubles(other))


@given(numbers)
def test_a_number_is_the_same_however_it_is_spelt(number: float) -> None:
    spellings = {repr(number), f"{float(number):.17e}", f"{float(number):.25E}"}
    assert len({canonical(json.loads(spelling)) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    "spellings",
    [
        ("1", "1.0", "1e0", "10e-1", "1.000"),
        ("0", "-0", "0.0", "-0.0", "0e5"),
        ("100", "1e2", "1E+2", "100.0"),
        ("9007199254740993", "9007199254740992", "9007199254740992.0", "9.007199254740993e15"),
        ("1e21", "1000000000000000000000", "1.0E21"),
        ("4.5", "4.50", "45e-1"),
        ("333333333.33333329", "333333333.3333333"),
        ("2e-3", "0.002"),
        ('{"b": 1, "a": 2}', '{"a":2,"b":1.0}'),
        (r'"\u20ac\/"', '"€/"'),
    ],
)
def test_what_rfc_8785_writes_as_the_same_bytes_is_the_same(spellings: tuple[str, ...]) -> None:
    assert len({canonical(json.loads(spelling)) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "true"),
        ("0", "false"),
        ("1", '"1"'),
        ("0", "null"),
        ("1", "1.0000000000000002"),
        ('"é"', '"e\u0301"'),
    ],
)
def test_what_only_resembles_it_is_another(one: str, other: str) -> None:
    assert canonical(json.loads(one)) != canonical(json.loads(other))


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists))
def test_without_a_decimal_point_nothing_is_written_otherwise_than_before(value: Any) -> None:
    assert canonical(value) == as_written(value)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical([math.nan])


def test_numbers_can_be_spelt_as_in_another_value() -> None:
    body = {"a": 1, "b": [2, True, "3", 4.5], "c": {"d": 0}, "e": 7}
    pattern = {"a": 1.0, "b": [2.0, 1, 3, 4], "c": {"d": -0.0}, "e": "7"}
    assert as_written(spelt_as(body, pattern)) == as_written(
        {"a": 1.0, "b": [2.0, True, "3", 4.5], "c": {"d": -0.0}, "e": 7}
    )


@given(values)
def test_a_value_has_the_text_that_fingerprints_were_made_of_before(value: Any) -> None:
    """A repeat of a key that an earlier release stored finds its saga, whatever writes the text."""
    plain = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
    assert canonical(value) == plain.encode(_with_plain_numbers(value))
