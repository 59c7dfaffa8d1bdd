"""A side's process, set up as the service's own is."""

from __future__ import annotations

from collections.abc import Coroutine

import uvloop

from app.process.gc_tuning import spare_what_stays


def run(main: Coroutine[object, object, None]) -> None:
    """Run it over uvloop, with the garbage collector as the service has it."""
    spare_what_stays()
    uvloop.run(main)
