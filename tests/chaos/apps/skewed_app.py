"""The service on a machine whose wall clock is wrong: `uvicorn tests.chaos.apps.skewed_app:app`.

WALL_CLOCK_OFFSET_SECONDS says by how much. Whatever the service reads of the wall clock is shifted,
the time in its ids too; the monotonic clock and the database's are as they are.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, tzinfo
from unittest.mock import patch

from uuid_utils import UUID, uuid7

OFFSET = timedelta(seconds=float(os.environ["WALL_CLOCK_OFFSET_SECONDS"]))


class WrongClock(datetime):
    """The standard library's datetime, but for what time it is now."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> WrongClock:
        right = super().now(tz)
        return right + OFFSET


def wrong_uuid7(*, nanoseconds: int | None = None) -> UUID:
    """Return an id of the time given, else of the wrong time."""
    return uuid7(nanoseconds=nanoseconds or time.time_ns() + int(OFFSET.total_seconds()) * 10**9)


for target, wrong in (
    ("app.saga.ports.clock.datetime", WrongClock),
    ("app.gateway.http_gateway.datetime", WrongClock),
    ("app.process.ids.uuid7", wrong_uuid7),
):
    patch(target, wrong).start()

from app.main import app  # noqa: E402 (only now: nothing may have read the right time)

__all__ = ["app"]
