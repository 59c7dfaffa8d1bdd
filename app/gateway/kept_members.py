"""What is kept of an answer beyond the contract's own members: what an operator may want to see, and no more.

A service may say more than the contract asks for (an acquirer's code, a label's URL, a refund's id). It is kept in
the step's result as it came, with these bounds: together at most `MOST_BYTES` of JSON, members in the service's own
order for as long as they fit; nothing nested deeper than `DEEPEST`; NUL and halves of surrogate pairs, which no
database keeps, as U+FFFD; a number that JSON has no word for as null; and no member with a card number in it, but
for an id, which may look like one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from app.saga.model.step import JSON, encode
from app.values.card_numbers import places_of_card_numbers

MOST_BYTES = 8_192
DEEPEST = 16

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class _TooDeep(ValueError):
    """The value is nested deeper than is kept."""


def storable_text(text: str) -> str:
    """Return the text with U+FFFD in place of what no database keeps."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def kept(members: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the members that are kept. A member that is too big, or too deep, is left out whole."""
    found: dict[str, JSON] = {}
    left = MOST_BYTES
    for name, value in members.items():
        try:
            member = {storable_text(name): _storable(value, DEEPEST)}
        except _TooDeep:
            continue
        size = len(encode(member))
        is_id = name.endswith("_id") and not isinstance(value, dict | list)
        if size > left or (not is_id and places_of_card_numbers(member)):
            continue
        left -= size
        found |= member
    return found


def _storable(value: JSON, deepest: int) -> JSON:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list) and deepest == 0:
        raise _TooDeep
    if isinstance(value, dict):
        return {storable_text(name): _storable(inner, deepest - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner, deepest - 1) for inner in value]
    return value
