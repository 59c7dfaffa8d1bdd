"""The lease and the takeover: a lapse is a death, one clock for all, and one bad saga holds back no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from app.saga import MemoryLog, NewSaga, SagaDefinition, SagaOrchestrator
from app.saga.engine.lease import Lease
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner, SagaTask
from app.saga.model.definition import Definitions
from app.saga.model.errors import LeaseLost, LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import SagaStatus
from app.saga.model.step import Context
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import StoredSaga
from tests.builders import an_action

SKEW = timedelta(hours=1)


class _Clock(SystemClock):
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


class _Step:
    name = "payment"

    async def execute(self, context: Context) -> None: ...

    async def compensate(self, context: Context) -> None: ...


@dataclass
class _Replica:
    log: MemoryLog
    clock: _Clock
    poll_seconds: float = 1.0
    names: count[int] = field(default_factory=lambda: count(1))
    observed: list[tuple[str, EventType]] = field(default_factory=list)

    def __post_init__(self) -> None:
        definition = SagaDefinition("one").do(_Step())
        definitions = Definitions([definition])
        self.lease = Lease(self.clock, "first", 10.0)
        orchestrator = SagaOrchestrator(
            definition,
            self.log,
            clock=self.clock,
            lease=self.lease,
            observers=[lambda saga_id, event: self.observed.append((saga_id, event.type))],
        )
        self.runner = SagaRunner(definitions, self.log, orchestrator, clock=self.clock)
        self.recovery = Recovery(
            self.log,
            self.runner,
            definitions,
            self.lease,
            clock=self.clock,
            new_owner=lambda: f"again-{next(self.names)}",
            poll_seconds=self.poll_seconds,
            max_in_flight=10,
        )

    async def left_behind(self, saga_id: str, *, definition: str = "one", events: int = 1) -> None:
        """Store a saga whose owner never lived; `events` above 1 makes its log one that can't be read."""
        at = self.log_now()
        started = SagaEvent(seq=1, at=at, type=EventType.SAGA_STARTED)
        new = NewSaga(id=saga_id, definition=definition, version=1)
        await self.log.start(new, started, owner="dead")
        for seq in range(2, events + 1):
            again = SagaEvent(seq=seq, at=at, type=EventType.SAGA_STARTED)
            await self.log.append(saga_id, epoch=1, events=[again])

    def log_now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


def _a_replica(*, ahead: timedelta = timedelta()) -> _Replica:
    clock = _Clock(ahead=ahead)
    database = _Clock()
    database.passed = 1.0
    return _Replica(MemoryLog(database), clock)


async def test_a_replica_takes_over_what_nobody_runs_and_finishes_it() -> None:
    """The same loop goes on, and the trail says that it was taken over."""
    replica = _a_replica()
    await replica.left_behind("a")
    await replica.recovery.renew()

    assert await replica.recovery.claim() == 1
    running = replica.runner.get("a")
    assert running is not None
    await running.done
    stored = await replica.log.load("a")
    assert stored is not None
    assert stored.status is SagaStatus.COMPLETED
    assert [event.type for event in stored.events][:2] == [EventType.SAGA_STARTED, EventType.SAGA_RECOVERED]


async def test_the_observers_are_told_of_a_takeover() -> None:
    """The log line `saga_recovered`, which the runbook looks for, is theirs to write: once for each takeover."""
    replica = _a_replica()
    await replica.recovery.renew()
    await replica.left_behind("a")
    await replica.recovery.claim()
    await replica.runner.idle(5)
    assert replica.observed == [
        ("a", EventType.SAGA_RECOVERED),
        ("a", EventType.STEP_SUCCEEDED),
        ("a", EventType.SAGA_COMPLETED),
    ]


async def test_nothing_is_claimed_without_a_lease() -> None:
    """Before the first renewal, and after a lapse, this process may not act."""
    replica = _a_replica()
    await replica.left_behind("a")
    assert await replica.recovery.claim() == 0
    await replica.recovery.renew()
    replica.clock.passed += 10.0
    assert await replica.recovery.claim() == 0


async def test_a_lapse_is_a_death_after_which_it_comes_back_as_another_owner() -> None:
    """What it was doing may be somebody else's by now: it asks for a new lease under a new name."""
    replica = _a_replica()
    await replica.recovery.renew()
    replica.clock.passed += 10.5
    with pytest.raises(LeaseLost):
        replica.lease.check()
    await replica.recovery.renew()
    assert replica.lease.owner == "again-1"
    assert replica.lease.held


async def test_a_clock_that_is_an_hour_off_is_set_right_by_the_lease() -> None:
    """Deadlines and back-offs of all replicas are on the database's clock."""
    for ahead in (SKEW, -SKEW):
        replica = _a_replica(ahead=ahead)
        await replica.recovery.renew()
        assert abs(replica.clock.now() - replica.log_now()) < timedelta(seconds=5)


async def test_a_saga_whose_log_cannot_be_read_holds_back_no_other() -> None:
    """The bad one is given up, to come again; its neighbour is finished."""
    replica = _a_replica()
    await replica.left_behind("bad", events=2)
    await replica.left_behind("good")
    await replica.recovery.renew()

    assert await replica.recovery.claim() == 2
    running = replica.runner.get("good")
    assert running is not None
    await running.done
    assert replica.runner.get("bad") is None
    good, bad = await replica.log.load("good"), await replica.log.load("bad")
    assert good is not None
    assert bad is not None
    assert (good.status, bad.status) == (SagaStatus.COMPLETED, SagaStatus.RUNNING)


async def test_a_saga_of_an_unknown_definition_is_left_to_who_knows_it() -> None:
    """A newer replica's saga isn't touched by an older one."""
    replica = _a_replica()
    await replica.left_behind("new", definition="other")
    await replica.recovery.renew()
    assert await replica.recovery.claim() == 0


async def test_a_lapse_that_only_a_saga_noticed_frees_what_it_dropped() -> None:
    """A renewal that was under way says yes: still, nobody runs that saga, so its owner must be dead."""
    replica = _a_replica()
    await replica.recovery.renew()
    at = replica.log_now()
    await replica.log.start(
        NewSaga(id="a", definition="one", version=1),
        SagaEvent(seq=1, at=at, type=EventType.SAGA_STARTED),
        owner=replica.lease.owner,
    )
    replica.clock.passed += 10.5
    with pytest.raises(LeaseLost):
        replica.lease.check()  # the saga's loop drops it here
    replica.lease.renewed(replica.clock.monotonic())  # and then the answer comes
    assert await replica.recovery.claim() == 0

    await replica.recovery.renew()
    assert await replica.recovery.claim() == 1
    running = replica.runner.get("a")
    assert running is not None
    await running.done
    stored = await replica.log.load("a")
    assert stored is not None
    assert stored.status is SagaStatus.COMPLETED


async def test_a_claim_whose_answer_was_lost_leaves_no_saga_without_a_runner() -> None:
    """The claim was stored, the answer broke off: its owner must die, or nobody would ever run those sagas."""

    class Broken(MemoryLog):
        broken = True

        async def claim(
            self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
        ) -> list[StoredSaga]:
            claimed = await super().claim(owner=owner, definitions=definitions, limit=limit)
            if self.broken:
                self.broken = False
                raise LogUnavailable("cut", stored=None)
            return claimed

    database = _Clock()
    database.passed = 1.0
    replica = _Replica(Broken(database), _Clock())
    await replica.left_behind("a")
    await replica.recovery.renew()
    with pytest.raises(LogUnavailable):
        await replica.recovery.claim()

    await replica.recovery.renew()
    assert await replica.recovery.claim() == 1


class _Told(MemoryLog):
    """A log that does what a test says in the middle of a claim, and may fail to give a saga up."""

    def __init__(self, clock: _Clock) -> None:
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


def _a_told_replica() -> tuple[_Replica, _Told]:
    database = _Clock()
    database.passed = 1.0
    log = _Told(database)
    return _Replica(log, _Clock()), log


@pytest.mark.parametrize("end", ["lost", "reborn"])
async def test_what_a_claim_brings_after_the_lease_is_gone_is_not_run(end: str) -> None:
    """It belongs to an owner that is dead: whoever lives claims it anew."""
    replica, log = _a_told_replica()
    await replica.left_behind("a")
    await replica.recovery.renew()
    log.meanwhile = replica.lease.lost if end == "lost" else lambda: replica.lease.reborn("new")
    assert await replica.recovery.claim() == 0
    assert replica.runner.in_flight == 0


async def test_a_claim_that_comes_back_too_late_costs_the_lease_though_a_renewal_is_granted() -> None:
    """What it claimed is run by nobody here, so its owner mustn't live on: whoever is born next takes it over."""
    replica, log = _a_told_replica()
    await replica.left_behind("a")
    await replica.recovery.renew()

    def too_late() -> None:
        replica.clock.passed += replica.lease.seconds

    log.meanwhile = too_late
    assert await replica.recovery.claim() == 0
    log.meanwhile = lambda: None
    replica.lease.renewed(replica.clock.monotonic())  # was under way, and the log granted it just in time
    assert not replica.lease.held

    await replica.recovery.renew()
    assert await replica.recovery.claim() == 1


async def test_a_saga_of_an_owner_that_died_sends_nothing_for_the_next_one() -> None:
    """The same process under another name is another owner."""
    replica, _ = _a_told_replica()
    await replica.left_behind("a")
    await replica.recovery.renew()
    await replica.recovery.claim()
    replica.lease.reborn("new")
    await replica.recovery.renew()
    running = replica.runner.get("a")
    assert running is not None
    await running.done
    stored = await replica.log.load("a")
    assert stored is not None
    assert stored.status is SagaStatus.RUNNING


async def test_who_leaves_takes_nothing_over() -> None:
    """From the moment on at which the process is told to stop."""
    replica, _ = _a_told_replica()
    await replica.left_behind("a")
    await replica.recovery.renew()
    replica.recovery.leave()
    assert await replica.recovery.claim() == 0


async def test_a_saga_that_can_not_be_given_up_costs_the_lease() -> None:
    """Or a living owner would own what nobody runs."""
    replica, log = _a_told_replica()
    await replica.left_behind("bad", events=2)
    await replica.recovery.renew()
    log.abandon_fails = True
    await replica.recovery.claim()
    assert replica.lease.lapsed


async def test_a_saga_that_can_not_be_understood_comes_ever_more_rarely() -> None:
    """Its trail mustn't grow with every poll."""
    replica, log = _a_told_replica()
    await replica.left_behind("bad", events=2)
    await replica.recovery.renew()
    for life in range(3):
        await replica.recovery.claim()
        replica.clock.passed += 1.0
        log._clock.passed += 3600.0  # type: ignore[attr-defined]
        replica.lease.reborn(f"again-{life}")
        await replica.recovery.renew()
    assert log.abandoned == sorted(log.abandoned)
    assert log.abandoned[-1] > 2 * log.abandoned[0]


async def test_beside_a_suspect_nothing_is_taken_over() -> None:
    """A saga that was taken over again and again is watched alone: should the process die, it was that one."""
    replica, _ = _a_told_replica()
    await replica.left_behind("suspect")
    for _ in range(2):
        await replica.log.claim(owner="dead", definitions=[("one", 1)], limit=1)
    await replica.recovery.renew()
    assert await replica.recovery.claim() == 1
    await replica.left_behind("neighbour")
    assert await replica.recovery.claim() == 0
    running = replica.runner.get("suspect")
    assert running is not None
    await running.done
    assert await replica.recovery.claim() == 1


async def test_a_renewal_that_hangs_leaves_time_for_another() -> None:
    """A silent connection costs a third of the lease, never all of it."""

    class Silent(MemoryLog):
        async def renew(self, owner: str, *, seconds: float) -> datetime:
            await asyncio.Event().wait()
            return await super().renew(owner, seconds=seconds)

    replica = _Replica(Silent(_Clock()), _Clock())
    replica.lease.seconds = 0.03
    with pytest.raises(LogUnavailable):
        await replica.recovery.renew()


async def test_a_slow_first_renewal_does_not_stop_the_start() -> None:
    """A database that is only just up is asked again; one that stays away stops it."""

    class Waking(MemoryLog):
        failures = 2

        async def renew(self, owner: str, *, seconds: float) -> datetime:
            if self.failures:
                self.failures -= 1
                raise LogUnavailable("waking", stored=False)
            return await super().renew(owner, seconds=seconds)

    log = Waking(_Clock())
    replica = _Replica(log, _Clock())
    await replica.recovery.begin()
    assert replica.lease.held
    await replica.recovery.end()
    log.failures = 100
    with pytest.raises(LogUnavailable):
        await _Replica(log, _Clock()).recovery.begin()


# ── a person's wishes ─────────────────────────────────────────────────────────────────────────────────


async def _in_back_off(replica: _Replica, saga_id: str) -> SagaTask:
    """Have the replica run a saga that waits, and return it."""
    at = replica.clock.now()
    replica.clock.hold = True
    later = (at + timedelta(seconds=3)).isoformat()
    retry = SagaEvent(
        seq=2,
        at=at,
        type=EventType.STEP_RETRIED,
        step="payment",
        attempt=1,
        data={"outcome": "unavailable", "next_action_at": later},
    )
    await replica.log.start(
        NewSaga(id=saga_id, definition="one", version=1),
        SagaEvent(seq=1, at=at, type=EventType.SAGA_STARTED),
        owner=replica.lease.owner,
    )
    await replica.log.append(saga_id, epoch=1, events=[retry])
    stored = await replica.log.load(saga_id)
    assert stored is not None
    running = replica.runner.resume(stored, owner=replica.lease.owner)
    await asyncio.sleep(0)
    return running


async def test_the_owner_hears_of_a_wish_that_came_to_another_replica() -> None:
    """Of its own sagas alone, and a back-off ends for it."""
    replica = _a_replica()
    await replica.recovery.renew()
    wanted, other = await _in_back_off(replica, "wanted"), await _in_back_off(replica, "other")
    assert await replica.log.want_cancel("wanted", an_action()) is not None
    await replica.recovery.listen()
    await asyncio.wait_for(wanted.done, 5)
    assert wanted.run.state.status is SagaStatus.COMPENSATED
    assert wanted.run.state.cancel is not None
    assert not other.done.done()
    await replica.runner.drop()


async def test_nobody_listens_without_a_reason() -> None:
    """A replica that runs nothing to be cancelled, or may not act, asks the database nothing."""
    replica = _a_replica()

    async def asked(owner: str) -> dict[str, OperatorAction]:
        raise AssertionError(f"the database was asked for {owner}")

    replica.log.wishes = asked  # type: ignore[method-assign]
    await replica.recovery.listen()
    await replica.recovery.renew()
    await replica.recovery.listen()
    running = await _in_back_off(replica, "a")
    running.run.cancel(an_action())
    await replica.recovery.listen()
    await replica.runner.drop()


class _Ending(MemoryLog):
    """A log that tells when it was first asked for what is due, and when a saga ended."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__(clock)
        self.asked = asyncio.Event()
        self.ended = asyncio.Event()

    async def claim(self, **what: Any) -> list[StoredSaga]:
        self.asked.set()
        return await super().claim(**what)

    async def append(self, saga_id: str, **what: Any) -> None:
        await super().append(saga_id, **what)
        self.ended.set()


async def test_what_is_due_now_is_claimed_at_once() -> None:
    """Who has acted on a saga doesn't wait for the next poll."""
    clock = _Clock()
    clock.passed = 1.0
    log = _Ending(clock)
    replica = _Replica(log, clock, poll_seconds=3600.0)
    await replica.recovery.begin()
    await log.asked.wait()
    await replica.left_behind("a")
    replica.recovery.wake()
    await asyncio.wait_for(log.ended.wait(), 60)
    await replica.recovery.stop_claiming()
    await replica.recovery.end()


class _Failing(MemoryLog):
    """A log whose every call raises, and that counts them."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.asked = 0
        self._with = error

    def fail(self) -> None:
        self.error = self._with

    async def renew(self, owner: str, *, seconds: float) -> datetime:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return await super().renew(owner, seconds=seconds)

    async def claim(self, **options: Any) -> list[StoredSaga]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return await super().claim(**options)


@pytest.mark.parametrize("error", [LogUnavailable("away"), RuntimeError("nobody foresaw it")])
async def test_a_loop_that_fails_each_time_pauses_and_tells_it_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is raised, also once the lease has lapsed: no loop may take a core and fill a disk."""
    pauses: list[float] = []
    many = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 50:
            many.set()
            await asyncio.Event().wait()
        await real_sleep(0)

    real_sleep = asyncio.sleep
    log = _Failing(error)
    clock = _Clock()
    replica = _Replica(log, clock, poll_seconds=1e-9)
    await replica.recovery.begin()
    log.fail()
    monkeypatch.setattr("app.saga.engine.recovery.asyncio.sleep", sleep)
    clock.passed += 60.0  # and the lease lapses
    async with asyncio.timeout(20):
        await many.wait()
    monkeypatch.undo()
    await replica.recovery.end()
    assert min(pauses) > 0
    assert caplog.messages.count("lease_renewal_failed") == 1
