"""The clock of a process: it shows the database's time."""

from __future__ import annotations

from app.saga.ports.clock import SystemClock
from app.storage import Storage


async def log_time(storage: Storage) -> SystemClock:
    """Return a clock that shows the log's time, whatever this machine's is set to. Raise `LogUnavailable`."""
    clock = SystemClock()
    clock.set_right(await storage.log.time())
    return clock
