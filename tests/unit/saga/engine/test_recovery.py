"""What nobody runs is taken over, by an owner that lives, and one bad saga holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from app.saga import MemoryLog, NewSaga
from app.saga.model.errors import LeaseLost, LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import StoredSaga
from tests.unit.saga.engine.replica import Clock, Replica, a_replica, a_scripted_replica


async def test_a_replica_takes_over_what_nobody_runs_and_finishes_it() -> None:
    """The same loop continues, and the trail says that it was taken over."""
    replica = a_replica()
    await replica.left_behind("a")
    await replica.keeper.renew()

    assert await replica.recovery.claim() == 1
    stored = await replica.run_to_its_end("a")
    assert stored.status is SagaStatus.COMPLETED
    assert [event.type for event in stored.events][:2] == [EventType.SAGA_STARTED, EventType.SAGA_RECOVERED]


async def test_the_observers_are_notified_of_a_takeover() -> None:
    """The log line `saga_recovered`, which the runbook looks for, is theirs to write: once for each takeover."""
    replica = a_replica()
    await replica.keeper.renew()
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
    replica = a_replica()
    await replica.left_behind("a")
    assert await replica.recovery.claim() == 0
    await replica.keeper.renew()
    replica.clock.passed += 10.0
    assert await replica.recovery.claim() == 0


async def test_a_saga_whose_log_cannot_be_read_holds_back_no_other() -> None:
    """The bad one is abandoned, to come again; its neighbour is finished."""
    replica = a_replica()
    await replica.left_behind("bad", events=2)
    await replica.left_behind("good")
    await replica.keeper.renew()

    assert await replica.recovery.claim() == 2
    good = await replica.run_to_its_end("good")
    assert replica.runner.get("bad") is None
    bad = await replica.log.load("bad")
    assert bad is not None
    assert (good.status, bad.status) == (SagaStatus.COMPLETED, SagaStatus.RUNNING)


async def test_a_saga_of_an_unknown_definition_is_left_to_who_knows_it() -> None:
    """A newer replica's saga isn't touched by an older one."""
    replica = a_replica()
    await replica.left_behind("new", definition="other")
    await replica.keeper.renew()
    assert await replica.recovery.claim() == 0


async def test_a_lapse_that_only_a_saga_noticed_frees_what_it_dropped() -> None:
    """A renewal that was under way says yes: still, nobody runs that saga, so its owner must be dead."""
    replica = a_replica()
    await replica.keeper.renew()
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

    await replica.keeper.renew()
    assert await replica.recovery.claim() == 1
    stored = await replica.run_to_its_end("a")
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

    database = Clock()
    database.passed = 1.0
    replica = Replica(Broken(database), Clock())
    await replica.left_behind("a")
    await replica.keeper.renew()
    with pytest.raises(LogUnavailable):
        await replica.recovery.claim()

    await replica.keeper.renew()
    assert await replica.recovery.claim() == 1


@pytest.mark.parametrize("end", ["lost", "new_identity"])
async def test_what_a_claim_brings_after_the_lease_is_gone_is_not_run(end: str) -> None:
    """It belongs to an owner that is dead: whoever lives claims it anew."""
    replica, log = a_scripted_replica()
    await replica.left_behind("a")
    await replica.keeper.renew()
    log.meanwhile = replica.lease.lost if end == "lost" else lambda: replica.lease.assume_new_identity("new")
    assert await replica.recovery.claim() == 0
    assert replica.runner.in_flight == 0


async def test_a_claim_that_returns_too_late_costs_the_lease_though_a_renewal_is_granted() -> None:
    """What it claimed is run by nobody here, so its owner mustn't live on: whoever is born next takes it over."""
    replica, log = a_scripted_replica()
    await replica.left_behind("a")
    await replica.keeper.renew()

    def too_late() -> None:
        replica.clock.passed += replica.lease.seconds

    log.meanwhile = too_late
    assert await replica.recovery.claim() == 0
    log.meanwhile = lambda: None
    replica.lease.renewed(replica.clock.monotonic())  # was under way, and the log granted it just in time
    assert not replica.lease.held

    await replica.keeper.renew()
    assert await replica.recovery.claim() == 1


async def test_a_saga_of_an_owner_that_died_sends_nothing_for_the_next_one() -> None:
    """The same process under another name is another owner."""
    replica, _ = a_scripted_replica()
    await replica.left_behind("a")
    await replica.keeper.renew()
    await replica.recovery.claim()
    replica.lease.assume_new_identity("new")
    await replica.keeper.renew()
    stored = await replica.run_to_its_end("a")
    assert stored.status is SagaStatus.RUNNING


async def test_who_leaves_takes_nothing_over() -> None:
    """From the moment on at which the process is told to stop."""
    replica, _ = a_scripted_replica()
    await replica.left_behind("a")
    await replica.keeper.renew()
    replica.recovery.quiesce()
    assert await replica.recovery.claim() == 0


async def test_a_saga_that_can_not_be_abandoned_costs_the_lease() -> None:
    """Or a living owner would own what nobody runs."""
    replica, log = a_scripted_replica()
    await replica.left_behind("bad", events=2)
    await replica.keeper.renew()
    log.abandon_fails = True
    await replica.recovery.claim()
    assert replica.lease.lapsed


async def test_an_unreadable_saga_is_claimed_at_growing_intervals() -> None:
    """Its trail mustn't grow with every poll."""
    replica, log = a_scripted_replica()
    await replica.left_behind("bad", events=2)
    await replica.keeper.renew()
    for life in range(3):
        await replica.recovery.claim()
        replica.clock.passed += 1.0
        log._clock.passed += 3600.0  # type: ignore[attr-defined]
        replica.lease.assume_new_identity(f"again-{life}")
        await replica.keeper.renew()
    assert log.abandoned == sorted(log.abandoned)
    assert log.abandoned[-1] > 2 * log.abandoned[0]


async def test_beside_a_suspect_nothing_is_taken_over() -> None:
    """A saga that was taken over again and again is watched alone: should the process die, it was that one."""
    replica, _ = a_scripted_replica()
    await replica.left_behind("suspect")
    for _ in range(2):
        await replica.log.claim(owner="dead", definitions=[("one", 1)], limit=1)
    await replica.keeper.renew()
    assert await replica.recovery.claim() == 1
    await replica.left_behind("neighbour")
    assert await replica.recovery.claim() == 0
    await replica.run_to_its_end("suspect")
    assert await replica.recovery.claim() == 1


class _Ending(MemoryLog):
    """A log that tells when it was first asked for what is due, and when a saga ended."""

    def __init__(self, clock: Clock) -> None:
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
    clock = Clock()
    clock.passed = 1.0
    log = _Ending(clock)
    replica = Replica(log, clock, poll_seconds=3600.0)
    await replica.start()
    await log.asked.wait()
    await replica.left_behind("a")
    replica.recovery.wake()
    await asyncio.wait_for(log.ended.wait(), 60)
    await replica.stop()


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
    clock = Clock()
    replica = Replica(log, clock, poll_seconds=1e-9)
    await replica.start()
    log.fail()
    monkeypatch.setattr("app.saga.background.background_loop.asyncio.sleep", sleep)
    clock.passed += 60.0  # and the lease lapses
    async with asyncio.timeout(60):
        await many.wait()
    monkeypatch.undo()
    await replica.stop()
    assert min(pauses) > 0
    assert caplog.messages.count("lease_renewal_failed") == 1
