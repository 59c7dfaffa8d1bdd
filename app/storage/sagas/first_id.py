"""Times as bounds of sagas' ids, which begin with the time of the saga's start (UUIDv7, RFC 9562)."""

from __future__ import annotations

from datetime import datetime, timedelta

ID_SLACK = timedelta(seconds=5)
"""By how much the time in an id may differ from the saga's `created_at`."""


def first_id(at: datetime, slack: timedelta = timedelta()) -> str:
    """Return the least UUIDv7 of a time, moved by `slack`; before 1970 there are none, so the first of all."""
    digits = f"{max(0, int((at.timestamp() + slack.total_seconds()) * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
