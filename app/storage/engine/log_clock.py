"""The log's clock: what leases, back-offs and deadlines are measured by. Nobody sets it.

SQLite       counts from the machine's boot, which every process of the machine sees alike and nobody can set;
             one row says which time that is, so that a process which is started again goes on from there
PostgreSQL   shows its server's clock; each replica counts on by its own monotonic clock, and follows what the
             server shows by no more than a hundredth of the time that has passed (`steadily`)

So an hour back holds nothing up for an hour, and an hour on makes nothing late that isn't.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from sqlalchemy import DateTime, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.ports.clock import steadily
from app.storage.engine.tables import log_clock, replica

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _shown() -> datetime:
    return datetime.now(UTC)


def _counted() -> float:
    """Return seconds since the machine's boot, its sleep included where the system counts that."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@cache
def _boot() -> str:
    """Return what names this boot of this machine; where the system has no such name, this process."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return str(uuid.uuid4())


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineClock:
    """This machine's two clocks: `shown` may be set at any time, `counted` counts seconds since the `boot`."""

    shown: Callable[[], datetime] = _shown
    counted: Callable[[], float] = _counted
    boot: Callable[[], str] = _boot


class SqliteClock:
    """The log's clock on SQLite: the same for every process that has the file open."""

    def __init__(self, machine: MachineClock) -> None:
        self._machine = machine

    async def now(self, connection: AsyncConnection) -> datetime:
        """Return the time."""
        row = (await connection.execute(select(log_clock))).one()
        shown, passed = self._machine.shown(), self._machine.counted() - row.counted
        if (
            row.boot != self._machine.boot() or passed < 0
        ):  # started anew: how long it was off, only `shown` can say
            return shown if row.at is None else max(shown, row.at)
        return steadily(row.at, passed, shown)

    async def shown(self, connection: AsyncConnection) -> datetime:
        """Return the time that leases are judged by: the same."""
        return await self.now(connection)

    async def keep(self, connection: AsyncConnection) -> tuple[datetime, datetime]:
        """Return both, and have every process count on from them."""
        now = await self.now(connection)
        await connection.execute(
            update(log_clock).values(boot=self._machine.boot(), counted=self._machine.counted(), at=now)
        )
        return now, now


class PostgresClock:
    """The log's clock on PostgreSQL, as this replica counts it."""

    def __init__(self, machine: MachineClock) -> None:
        self._machine = machine
        self._last: tuple[datetime, float] | None = None

    async def now(self, connection: AsyncConnection) -> datetime:
        """Return the time. The first never lies before what another replica has counted to."""
        return (await self.keep(connection))[0]

    async def shown(self, connection: AsyncConnection) -> datetime:
        """Return what the server's clock shows: leases are judged by it, as all replicas see the same."""
        asked = select(func.clock_timestamp(type_=DateTime(timezone=True)))
        return (await connection.execute(asked)).scalar_one()

    async def keep(self, connection: AsyncConnection) -> tuple[datetime, datetime]:
        """Return both, of one look at the server's clock."""
        shown = now = await self.shown(connection)
        if self._last is None:
            others = (await connection.execute(select(func.max(replica.c.renewed_at)))).scalar_one()
            now = shown if others is None else max(shown, others)
        if self._last is not None:  # also if another has started meanwhile
            last, counted = self._last
            now = steadily(last, max(0.0, self._machine.counted() - counted), shown)
        self._last = now, self._machine.counted()
        return now, shown


LogClock = SqliteClock | PostgresClock
