"""A replica over a log in memory: what claims, renews and runs sagas, on a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from app.saga import MemoryLog, NewSaga, SagaDefinition, SagaOrchestrator
from app.saga.engine.cancellation_poll import CancellationPoll
from app.saga.engine.lease import Lease
from app.saga.engine.lease_keeper import LeaseKeeper
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner
from app.saga.model.definition import Definitions
from app.saga.model.errors import LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.step import Context
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import StoredSaga


class Clock(SystemClock):
    """A clock that stands until it is moved, and that may be wrong about the time of day."""

    def __init__(self, *, ahead: timedelta = timedelta()) -> None:
        super().__init__()
        self.passed = 0.0
        self.hold = False
        self._from = datetime(2026, 1, 1, tzinfo=UTC) + ahead
        self._from_passed = 0.0

    def now(self) -> datetime:
        return self._from + timedelta(seconds=self.passed - self._from_passed)

    def monotonic(self) -> float:
        return self.passed

    def set_right(self, now: datetime) -> None:
        self._from, self._from_passed = now, self.passed

    async def sleep(self, seconds: float) -> None:
        if self.hold:
            await asyncio.Event().wait()
        self.passed += seconds


class Step:
    name = "payment"

    async def execute(self, context: Context) -> None: ...

    async def compensate(self, context: Context) -> None: ...


@dataclass
class Replica:
    log: MemoryLog
    clock: Clock
    poll_seconds: float = 1.0
    names: count[int] = field(default_factory=lambda: count(1))
    observed: list[tuple[str, EventType]] = field(default_factory=list)

    def __post_init__(self) -> None:
        definition = SagaDefinition("one").do(Step())
        definitions = Definitions([definition])
        self.lease = Lease(self.clock, "first", 10.0)
        orchestrator = SagaOrchestrator(
            definition,
            self.log,
            clock=self.clock,
            lease=self.lease,
            observers=[self._observe],
        )
        self.runner = SagaRunner(definitions, self.log, orchestrator, clock=self.clock)
        self.recovery = Recovery(
            self.log,
            self.runner,
            definitions,
            self.lease,
            clock=self.clock,
            poll_seconds=self.poll_seconds,
            max_in_flight=10,
        )
        self.keeper = LeaseKeeper(
            self.log,
            self.lease,
            clock=self.clock,
            new_owner=lambda: f"again-{next(self.names)}",
            drop=self.runner.drop,
        )
        self.cancellations = CancellationPoll(
            self.log, self.runner, self.lease, poll_seconds=self.poll_seconds
        )

    def _observe(self, saga_id: str, events: Sequence[SagaEvent]) -> None:
        self.observed.extend((saga_id, event.type) for event in events)

    async def start(self) -> None:
        for component in (self.keeper, self.cancellations, self.recovery):
            await component.start()

    async def stop(self) -> None:
        for component in (self.recovery, self.cancellations, self.keeper):
            await component.stop()

    async def left_behind(self, saga_id: str, *, definition: str = "one", events: int = 1) -> None:
        """Store a saga whose owner never lived; `events` above 1 makes its log one that can't be read."""
        at = self.log_now()
        started = SagaEvent(seq=1, at=at, type=EventType.SAGA_STARTED)
        new = NewSaga(id=saga_id, definition=definition, version=1)
        await self.log.start(new, started, owner="dead")
        for seq in range(2, events + 1):
            again = SagaEvent(seq=seq, at=at, type=EventType.SAGA_STARTED)
            await self.log.append(saga_id, epoch=1, events=[again])

    async def run_to_its_end(self, saga_id: str) -> StoredSaga:
        """Wait until a saga that runs here is left by its loop; return what is stored then."""
        running = self.runner.get(saga_id)
        assert running is not None
        await running.done
        stored = await self.log.load(saga_id)
        assert stored is not None
        return stored

    def log_now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


def a_replica(*, ahead: timedelta = timedelta()) -> Replica:
    clock = Clock(ahead=ahead)
    database = Clock()
    database.passed = 1.0
    return Replica(MemoryLog(database), clock)


class ScriptedLog(MemoryLog):
    """A log that does what a test says in the middle of a claim, and may fail to give a saga up."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.meanwhile: Callable[[], object] = lambda: None
        self.abandoned: list[timedelta] = []
        self.abandon_fails = False

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        claimed = await super().claim(owner=owner, definitions=definitions, limit=limit)
        self.meanwhile()
        return claimed

    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        if self.abandon_fails:
            raise LogUnavailable("away", stored=False)
        self.abandoned.append(until - self._clock.now())
        await super().abandon(saga_id, epoch=epoch, until=until)


def a_scripted_replica() -> tuple[Replica, ScriptedLog]:
    database = Clock()
    database.passed = 1.0
    log = ScriptedLog(database)
    return Replica(log, Clock()), log
