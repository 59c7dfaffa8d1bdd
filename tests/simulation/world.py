"""What all replicas share: time, rng, the database, the plan of faults, and the record of what happened."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tests.simulation.database import Database
from tests.simulation.loop import WORLD, Process, VirtualLoop
from tests.simulation.plan import AFTER, Fault, Faults, Plan
from tests.simulation.trace import Trace

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When every run begins, on the database's clock."""


class Machine(Protocol):
    """A replica as the world treats it."""

    process: Process | None

    def kill(self, seconds: float) -> None:
        """End its process, to be started again after `seconds`."""

    def freeze(self, seconds: float) -> None:
        """Stop its process for `seconds`."""

    def stop(self, seconds: float) -> None:
        """Ask its process to end in order, to be started again after `seconds`."""


class World:
    """One run's surroundings."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, plan: Plan) -> None:
        self.loop = loop
        self.rng = rng
        self.faults = Faults(plan)
        self.trace = Trace()
        self.counts: Counter[str] = Counter()
        self.database = Database(self.now)
        self.database_down = False
        self.machines: Sequence[Machine] = ()
        self.disturbed_until = 0.0
        self.gone: dict[str, float] = {}
        """When each owner that is no more was gone, in seconds from the beginning."""
        self.deaths = 0
        self._outages = 0

    def now(self) -> datetime:
        """Return the database's time."""
        return BEGIN + timedelta(seconds=self.loop.elapsed)

    def latency(self) -> float:
        """Draw how long a message takes: mostly a few milliseconds, at times many more."""
        return 0.0005 + 0.2 * self.rng.random() ** 4

    def note(self, who: str, what: str, about: str, outcome: str) -> None:
        """Put a line into the trace."""
        self.trace.note(self.loop.elapsed, who, what, about, outcome)

    def disturbed(self, seconds: float) -> None:
        """Note that nothing can be expected of anybody before so many seconds from now have passed."""
        self.disturbed_until = max(self.disturbed_until, self.loop.elapsed + seconds)

    async def step(self, process: Process) -> Fault | None:
        """Count a call of a replica's; strike it before the call, or return what strikes after it."""
        fault = self.faults.strike(process.name)
        if fault is None:
            return None
        if fault.moment == AFTER:
            return fault
        self.hit(fault)
        if process.alive:
            await asyncio.sleep(0)  # a frozen process goes no further than here
        else:
            await asyncio.Event().wait()
        return None

    def hit(self, fault: Fault) -> None:
        """Strike a replica, where it isn't down already and it isn't too late for that."""
        machine = self.machines[int(fault.at.removeprefix("replica-"))]
        if self.faults.over or machine.process is None or machine.process.frozen:
            return
        self.counts[fault.kind] += 1
        self.note(fault.at, fault.kind, f"{fault.seconds}", fault.moment)
        self.disturbed(fault.seconds)
        self.deaths += 1
        match fault.kind:
            case "kill":
                machine.kill(fault.seconds)
            case "freeze":
                machine.freeze(fault.seconds)
            case "stop":
                machine.stop(fault.seconds)
            case "night":
                for each in self.machines:
                    each.kill(fault.seconds)

    def crash_database(self, seconds: float) -> None:
        """Break every connection to the database; it is back after `seconds`."""
        self.note("database", "crash", "", f"{seconds}")
        self.disturbed(seconds)
        self.database.crash()
        self.database_down = True
        self._outages += 1
        outage = self._outages

        def back() -> None:
            if outage == self._outages:
                self.database_down = False

        self.loop.call_later(seconds, back, context=WORLD)
