"""A side's process, set up as the service's own is."""

from __future__ import annotations

import gc
from collections.abc import Coroutine

import uvloop


def run(main: Coroutine[object, object, None]) -> None:
    """Run it over uvloop, with the garbage collector as `app/main.py` has it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    uvloop.run(main)
