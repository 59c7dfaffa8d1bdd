"""One way to write JSON, so that the same saga is the same bytes whoever reads it from wherever."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any


class Body:
    """A JSON object: its dataclass's members in their order."""

    def members(self) -> dict[str, Any]:
        """Return what is shown."""
        return vars(self)


class SparseBody(Body):
    """A JSON object without the members that don't apply."""

    def members(self) -> dict[str, Any]:
        """Leave out each that is None."""
        return {name: value for name, value in vars(self).items() if value is not None}


def encode(body: object) -> bytes:
    """Return JSON in UTF-8; a lone surrogate that a service let in is escaped, not an error."""
    return _ENCODER.encode(body).encode("utf-8", "backslashreplace")


def instant(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC, always to the microsecond."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return f"{at.isoformat(timespec='microseconds')[: -len('+00:00')]}Z"


def _plain(value: object) -> Any:
    if isinstance(value, Body):
        return value.members()
    if isinstance(value, datetime):
        return instant(value)
    raise TypeError(f"{type(value).__name__} has no JSON.")


_ENCODER = json.JSONEncoder(default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
