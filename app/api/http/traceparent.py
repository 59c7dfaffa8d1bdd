"""The caller's trace (W3C Trace Context), kept with the saga so that its whole life is one trace."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.values.card_numbers import holds_card_number

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_LONGEST = 128


def traceparent(headers: Sequence[str]) -> str | None:
    """Return the header's value where there is one and it is valid; what isn't is no trace, never an error."""
    if len(headers) != 1 or len(headers[0]) > _LONGEST:
        return None
    match = _TRACEPARENT.fullmatch(headers[0])
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match[4]):
        return None
    if not match["trace"].strip("0") or not match["parent"].strip("0"):
        return None
    if holds_card_number(headers[0]):
        return (
            None  # sixteen digits of a span's id may be a card's, too; a trace is worth less than a mistake
        )
    return headers[0]
