"""When two JSON values are the same, as RFC 8785 (JSON Canonicalization Scheme) has it.

The order of members, white space and the spelling of a number don't matter: `1.0`, `1` and `1e0` are one
number, `-0.0` is `0`, and every number is the double that it is read as. Text matters to the letter.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_LARGEST = 2**53
"""Up to here each integer is a double of its own."""

_ODD_NUMBER = re.compile(rb"[:,\[]-?\d+(?:[.eE]|(?<=\d{16}))")
"""In an object or a list, a number with a decimal point, or of sixteen digits."""

_OTHERWISE = (b"\x7f", b"null")
"""What orjson writes otherwise than Python does: DEL, and what is not a number."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """Return a text, in ASCII, that two JSON values share only where RFC 8785 writes them as the same bytes.

    It isn't those bytes: a value without a decimal point keeps the text that fingerprints had been made of
    before numbers were compared as such.
    """
    if isinstance(value, dict | list):
        try:
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            text = b"\xff"
        plain = text.isascii() and not any(odd in text for odd in _OTHERWISE)
        if plain and not _ODD_NUMBER.search(text):  # the very same text, at a third of the cost
            return text.decode("ascii")
    return _ENCODER.encode(_with_plain_numbers(value))


def as_written(value: Any) -> str:
    """Return the same, but where the spelling of a number matters, as it once did."""
    return _ENCODER.encode(value)


def spelt_as(value: Any, pattern: Any) -> Any:
    """Return a JSON value with each number spelt as where `pattern` has the same number in the same place."""
    if isinstance(value, dict):
        there = pattern if isinstance(pattern, dict) else {}
        return {name: spelt_as(inner, there.get(name)) for name, inner in value.items()}
    if isinstance(value, list):
        along = pattern if isinstance(pattern, list) and len(pattern) == len(value) else [None] * len(value)
        return [spelt_as(inner, other) for inner, other in zip(value, along, strict=True)]
    both_numbers = type(value) in {int, float} and type(pattern) in {int, float}
    return pattern if both_numbers and value == pattern else value


def _with_plain_numbers(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value
    if kind is dict:
        return {name: _with_plain_numbers(inner) for name, inner in value.items()}
    if kind is list:
        return [_with_plain_numbers(inner) for inner in value]
    if kind is float and value.is_integer():
        return int(value)
    if kind is int and not -_LARGEST <= value <= _LARGEST:
        return int(float(value))
    return value
