"""A clock that is set, an hour back or on: what is due goes on within seconds, and nothing is late that isn't."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.clock import SLEW, steadily
from app.saga.ports.log import NewSaga, RowChange
from app.storage import Storage, open_storage
from app.storage.engine.log_clock import MachineClock
from tests.builders import an_id

LEASE = 10.0
HOUR = 3600.0
NEAR = timedelta(seconds=2)
DEFINITIONS = [("one", 1)]


class Machine:
    """A machine whose clock can be set; on PostgreSQL it is the server's that is set."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.began = datetime.now(UTC)
        self.counted = 1000.0
        self.off = 0.0
        self.booted = "first"

    @property
    def clock(self) -> MachineClock:
        return MachineClock(
            shown=lambda: self.began + timedelta(seconds=self.counted - 1000.0 + self.off),
            counted=lambda: self.counted,
            boot=lambda: self.booted,
        )

    async def prepare(self) -> None:
        """Have PostgreSQL's clock be one that a test sets."""
        if self.url.startswith("postgresql"):
            name = urlsplit(self.url).path.removeprefix("/")
            await self._say("CREATE TABLE clock_off AS SELECT 0::float8 AS seconds")
            await self._say(
                "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
                "'SELECT pg_catalog.clock_timestamp() + make_interval(secs => seconds) FROM public.clock_off'"
            )
            await self._say(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog')

    async def move(self, *, passed: float = 0.0, set_by: float = 0.0) -> None:
        """Let seconds pass, and set the clock by so many."""
        self.counted += passed
        self.off += set_by
        if self.url.startswith("postgresql"):
            await self._say("UPDATE clock_off SET seconds = $1", self.counted - 1000.0 + self.off)

    async def _say(self, sql: str, *given: float) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(sql, *given)
        finally:
            await connection.close()

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Storage]:
        """Give what a process of this machine has of the log."""
        async with open_storage(self.url, machine=self.clock) as storage:
            yield storage


@pytest.fixture
async def machine(database_url: str) -> Machine:
    machine = Machine(database_url)
    await machine.prepare()
    return machine


async def begun(storage: Storage, owner: str) -> NewSaga:
    saga = NewSaga(id=an_id(), definition="one", version=1)
    event = SagaEvent(seq=1, at=await storage.log.time(), type=EventType.SAGA_STARTED)
    await storage.log.start(saga, event, owner=owner)
    return saga


async def parked(storage: Storage, owner: str, seconds: float) -> NewSaga:
    saga = await begun(storage, owner)
    now = await storage.log.time()
    change = RowChange(status=SagaStatus.RUNNING, next_action_at=now + timedelta(seconds=seconds), park=True)
    event = SagaEvent(seq=2, at=now, type=EventType.STEP_RETRIED, step="payment", attempt=1)
    await storage.log.append(saga.id, epoch=1, events=[event], change=change)
    return saga


async def taken(storage: Storage) -> set[str]:
    claimed = await storage.log.claim(owner="me", definitions=DEFINITIONS, limit=10)
    return {one.saga.id for one in claimed}


@pytest.mark.parametrize("set_by", [-HOUR, HOUR, -30 * HOUR])
async def test_a_clock_that_is_set_moves_no_span(machine: Machine, set_by: float) -> None:
    """Between two looks as much has passed as was counted, to a hundredth."""
    async with machine.process() as storage:
        await storage.log.renew("me", seconds=LEASE)
        before = await storage.log.time()
        await machine.move(passed=100, set_by=set_by)
        after = await storage.log.time()
        assert abs(after - before - timedelta(seconds=100)) < timedelta(seconds=100 * SLEW) + NEAR


async def test_what_is_parked_goes_on_when_it_is_due_though_the_clock_was_set_back(machine: Machine) -> None:
    async with machine.process() as storage:
        await storage.log.renew("me", seconds=LEASE)
        saga = await parked(storage, "me", 6)
        await machine.move(passed=1, set_by=-HOUR)
        assert await taken(storage) == set(), "not before it is due"
        await machine.move(passed=6)
        assert await taken(storage) == {saga.id}


async def test_a_dead_owners_sagas_are_taken_over_though_the_clock_was_set_back(machine: Machine) -> None:
    """Within two leases, also by a process that is started only now."""
    async with machine.process() as storage:
        await storage.log.renew("dead", seconds=LEASE)
        saga = await begun(storage, "dead")
    await machine.move(passed=1, set_by=-HOUR)
    async with machine.process() as storage:
        await storage.log.renew("me", seconds=LEASE)
        assert await taken(storage) == set(), "its lease may last still"
        for _ in range(2):
            await machine.move(passed=LEASE * 0.6)
            await storage.log.renew("me", seconds=LEASE)
        assert await taken(storage) == {saga.id}


async def test_a_living_owner_keeps_its_sagas_though_the_clock_was_set_back(machine: Machine) -> None:
    """Whoever looks on for long sees that it renews."""
    async with machine.process() as storage, machine.process() as other:
        for log in (storage.log, other.log):
            await log.renew("me" if log is storage.log else "other", seconds=LEASE)
        await begun(other, "other")
        await machine.move(set_by=-HOUR)
        for _ in range(12):
            await machine.move(passed=LEASE / 3)
            await other.log.renew("other", seconds=LEASE)
            await storage.log.renew("me", seconds=LEASE)
            assert await taken(storage) == set()


async def test_an_owner_with_a_longer_lease_keeps_its_sagas(machine: Machine) -> None:
    """While CHECKOUT_LEASE_SECONDS is changed from one replica to the next, a lease lasts as its own owner has it."""
    async with machine.process() as storage, machine.process() as other:
        await other.log.renew("other", seconds=LEASE * 6)
        saga = await begun(other, "other")
        for _ in range(9):
            await storage.log.renew("me", seconds=LEASE)
            assert await taken(storage) == set(), "its lease lasts"
            await machine.move(passed=LEASE * 0.6)
        for _ in range(2):
            await storage.log.renew("me", seconds=LEASE)
            await machine.move(passed=LEASE * 0.6)
        assert await taken(storage) == {saga.id}, "now it has lapsed"


async def test_a_lease_that_was_renewed_while_the_clock_was_set_on_is_over_in_time(machine: Machine) -> None:
    """The clock is an hour on, then put right, and nobody who looks on saw the lease before that."""
    async with machine.process() as storage:
        await storage.log.renew("before", seconds=LEASE)
        await machine.move(passed=1, set_by=HOUR)
        await storage.log.renew("dead", seconds=LEASE)
        saga = await begun(storage, "dead")
    await machine.move(passed=1, set_by=-HOUR)
    async with machine.process() as storage:
        for _ in range(102):
            await storage.log.renew("me", seconds=LEASE)
            if await taken(storage) == {saga.id}:
                return
            await machine.move(passed=LEASE * 0.6)
        pytest.fail("its sagas were left alone for more than ten minutes")


async def test_a_clock_set_on_takes_no_lease_on_sqlite(sqlite_url: str) -> None:
    """And no process there sees more time than has passed, whenever it was started."""
    machine = Machine(sqlite_url)
    async with machine.process() as storage:
        await storage.log.renew("other", seconds=LEASE)
        began = await storage.log.time()
        await begun(storage, "other")
    await machine.move(passed=2, set_by=HOUR)
    async with machine.process() as storage:
        await storage.log.renew("me", seconds=LEASE)
        assert await taken(storage) == set()
        assert await storage.log.time() - began < timedelta(seconds=2) + NEAR


async def test_a_boot_goes_by_the_clock_and_never_back(sqlite_url: str) -> None:
    """How long the machine was off only its clock can say; time that went into trails stays behind us."""
    machine = Machine(sqlite_url)
    async with machine.process() as storage:
        await storage.log.renew("me", seconds=LEASE)
        before = await storage.log.time()
    machine.booted, machine.counted, machine.off = "second", 5.0, 995.0 + HOUR
    async with machine.process() as storage:
        assert abs(await storage.log.time() - before - timedelta(hours=1)) < NEAR
        await storage.log.renew("you", seconds=LEASE)
        later = await storage.log.time()
    machine.booted, machine.off = "third", -HOUR
    async with machine.process() as storage:
        assert await storage.log.time() == later


def test_a_clock_is_followed_by_a_hundredth_of_what_has_passed() -> None:
    """So that in the end the times in the trail are those on the wall."""
    last = datetime(2026, 1, 1, tzinfo=UTC)
    assert steadily(last, 100, last + timedelta(seconds=100.5)) == last + timedelta(seconds=100.5)
    assert steadily(last, 100, last + timedelta(hours=1)) == last + timedelta(seconds=101)
    assert steadily(last, 100, last - timedelta(hours=1)) == last + timedelta(seconds=99)
