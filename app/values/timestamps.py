"""Times as RFC 3339 writes them, and as the API's description promises: that much is taken, and no more."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DATE_TIME = re.compile(
    r"(?P<minute>\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d):(?P<second>[0-5]\d|60)"
    r"(?:\.(?P<fraction>\d{1,18}))?(?P<zone>[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_LEAP_SECOND = "60"


def instant_of(text: str) -> datetime:
    """Return the time in UTC; raise `ValueError` where it is none, or one that no clock here can show.

    A fraction of a microsecond is rounded up: stored times are whole microseconds, so comparisons give the same
    result. A leap second is the start of the next minute.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError("That is no RFC 3339 time.")
    fraction = match["fraction"] or ""
    leap = match["second"] == _LEAP_SECOND
    second = "59" if leap else match["second"]
    try:
        at = datetime.fromisoformat(f"{match['minute']}:{second}{match['zone']}".upper()).astimezone(UTC)
        at += timedelta(microseconds=-(-int(fraction.ljust(18, "0")) // 10**12))
        return at + timedelta(seconds=1) if leap else at
    except (ValueError, OverflowError):
        raise ValueError("That is no day of the years 1 to 9999.") from None
