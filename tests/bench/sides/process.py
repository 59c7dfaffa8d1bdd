"""A side's process, set up as the service's own is."""

from __future__ import annotations

from collections.abc import Coroutine

import uvloop

from app.process.gc_tuning import freeze_startup_objects


def run(main: Coroutine[object, object, None]) -> None:
    """Run it over uvloop, with the garbage collector as the service has it."""
    freeze_startup_objects()
    uvloop.run(main)
