"""The lease is renewed on the log's clock, and a lapse is a death."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from app.saga import MemoryLog
from app.saga.model.errors import LeaseLost, LogUnavailable
from tests.unit.saga.engine.replica import Clock, Replica, a_replica

SKEW = timedelta(hours=1)


async def test_after_a_lapse_the_process_comes_back_as_another_owner() -> None:
    """What it was doing may be somebody else's by now: it asks for a new lease under a new name."""
    replica = a_replica()
    await replica.keeper.renew()
    replica.clock.passed += 10.5
    with pytest.raises(LeaseLost):
        replica.lease.check()
    await replica.keeper.renew()
    assert replica.lease.owner == "again-1"
    assert replica.lease.held


async def test_a_clock_that_is_an_hour_off_is_set_right_by_the_lease() -> None:
    """Deadlines and back-offs of all replicas are on the database's clock."""
    for ahead in (SKEW, -SKEW):
        replica = a_replica(ahead=ahead)
        await replica.keeper.renew()
        assert abs(replica.clock.now() - replica.log_now()) < timedelta(seconds=5)


async def test_a_renewal_that_hangs_leaves_time_for_another() -> None:
    """A silent connection costs a third of the lease, never all of it."""

    class Silent(MemoryLog):
        async def renew(self, owner: str, *, seconds: float) -> datetime:
            await asyncio.Event().wait()
            return await super().renew(owner, seconds=seconds)

    replica = Replica(Silent(Clock()), Clock())
    replica.lease.seconds = 0.03
    with pytest.raises(LogUnavailable):
        await replica.keeper.renew()


async def test_a_slow_first_renewal_does_not_stop_the_start() -> None:
    """A database that is only just up is asked again; one that stays away stops it."""

    class Waking(MemoryLog):
        failures = 2

        async def renew(self, owner: str, *, seconds: float) -> datetime:
            if self.failures:
                self.failures -= 1
                raise LogUnavailable("waking", stored=False)
            return await super().renew(owner, seconds=seconds)

    log = Waking(Clock())
    replica = Replica(log, Clock())
    await replica.keeper.start()
    assert replica.lease.held
    await replica.keeper.stop()
    log.failures = 100
    with pytest.raises(LogUnavailable):
        await Replica(log, Clock()).keeper.start()
