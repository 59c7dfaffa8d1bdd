"""The sagas that a process runs live in tasks of their own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from app.saga import (
    Context,
    Definitions,
    EventType,
    LogUnavailable,
    NewSaga,
    SagaEvent,
    SagaOrchestrator,
    SagaStatus,
    StepRejected,
)
from app.saga.engine.lease import Lease
from app.saga.engine.runner import ABANDON_SECONDS, SagaRunner
from app.saga.engine.saga_task import SagaTask
from app.saga.model.errors import DefinitionUnknown, LogRefused, SagaFenced
from app.saga.ports.log import IdempotencyConflict, RowChange, StartResult, Stored
from tests.builders import (
    HANG,
    Answer,
    Journal,
    NotedLog,
    VirtualClock,
    a_definition,
    a_saga,
    settle,
    the_most,
    three_steps,
    told,
)

CHECKOUT = [("checkout", 2)]


@dataclass
class House:
    """A runner over a log, with steps that a test scripts."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    journal: Journal = field(default_factory=list)
    log: Any = None

    def __post_init__(self) -> None:
        self.log = self.log or NotedLog(self.clock, self.journal)

    def runner(self, *, lease: Lease | None = None, **answers: Iterable[Answer]) -> SagaRunner:
        definition = a_definition(three_steps(self.journal, **answers))
        orchestrator = SagaOrchestrator(definition, self.log, clock=self.clock, jitter=the_most, lease=lease)
        return SagaRunner(Definitions([definition]), self.log, orchestrator, clock=self.clock)

    async def claim(self) -> list[Any]:
        return list(await self.log.claim(owner="b", definitions=CHECKOUT, limit=9))


class Gate:
    """A step's answer that waits until it is let go."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, _: Context) -> None:
        self.reached.set()
        await self.open.wait()


class ToldLog(NotedLog):
    """A log that fails at its appends, or at its start, with what a test says."""

    def __init__(
        self, clock: VirtualClock, *, start: Exception | None = None, append: Exception | None = None
    ) -> None:
        super().__init__(clock, [])
        self._start_fails, self.append_fails = start, append
        self.abandon_fails: list[Exception] = []

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        if self._start_fails:
            raise self._start_fails
        return await super().start(saga, event, owner=owner)

    async def append(
        self, saga_id: str, *, epoch: int, events: Sequence[SagaEvent], change: RowChange | None = None
    ) -> None:
        if self.append_fails:
            raise self.append_fails
        await super().append(saga_id, epoch=epoch, events=events, change=change)

    async def abandon(self, saga_id: str, **how: Any) -> None:
        if self.abandon_fails:
            raise self.abandon_fails.pop()
        await super().abandon(saga_id, **how)


@pytest.fixture
def house() -> House:
    return House()


async def through(running: SagaTask) -> None:
    await asyncio.wait_for(asyncio.shield(running.done), 60)


class TestLaunching:
    async def test_a_saga_runs_to_its_end_with_nobody_waiting(self, house: House) -> None:
        """`started` tells the log's answer, `done` that this process is through with it."""
        runner = house.runner()
        running = runner.launch(a_saga())
        assert await running.started == Stored()
        await through(running)
        assert running.instance.state.status is SagaStatus.COMPLETED
        assert running.inactive
        assert runner.in_flight == 0

    async def test_a_saga_shows_only_once_it_is_durable(self, house: House) -> None:
        """Before that, a client would be told of something that a crash could take back."""
        gate = Gate()
        runner = house.runner(payment=[gate])
        saga = a_saga()
        running = runner.launch(saga)
        assert runner.in_flight == 1
        assert runner.get(saga.id) is None
        await gate.reached.wait()
        assert runner.get(saga.id) is running
        gate.open.set()
        await through(running)
        assert runner.get(saga.id) is None

    async def test_a_start_that_is_another_s_is_an_answer(self, house: House) -> None:
        """The key's owner is named, and nothing is sent for the second."""
        runner = house.runner()
        first = runner.launch(a_saga(idempotency_key="k", fingerprint="f"))
        await through(first)
        sent = len(house.journal)
        second = runner.launch(a_saga(idempotency_key="k"))
        await through(second)
        assert second.started.result() == IdempotencyConflict(saga_id=first.instance.saga.id, fingerprint="f")
        assert not [line for line in house.journal[sent:] if "." in line]
        assert runner.in_flight == 0

    async def test_a_definition_that_is_not_known_here_is_refused_at_once(self, house: House) -> None:
        """Nothing is stored."""
        runner = house.runner()
        with pytest.raises(DefinitionUnknown):
            runner.launch(a_saga(version=7))
        assert (runner.in_flight, house.journal) == (0, [])

    @pytest.mark.parametrize("error", [LogUnavailable(), LogRefused()])
    async def test_a_start_that_fails_raises_at_those_that_wait(self, house: House, error: Exception) -> None:
        """And the saga is forgotten."""
        runner = House(house.clock, log=ToldLog(house.clock, start=error)).runner()
        running = runner.launch(a_saga())
        await through(running)
        assert running.started.exception() is error
        assert runner.in_flight == 0

    async def test_a_start_that_may_be_stored_is_abandoned(self, house: House) -> None:
        """This process lives, so nobody else would ever take over what it doesn't run."""

        class Lost(ToldLog):
            async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
                await super().start(saga, event, owner=owner)
                raise LogUnavailable(stored=None)

        log = Lost(house.clock)
        await log.renew("me", seconds=3600)
        lease = Lease(house.clock, "me", 3600)
        lease.renewed(house.clock.monotonic())
        house = House(house.clock, log=log)
        running = house.runner(lease=lease).launch(a_saga())
        await through(running)
        house.clock.advance(2 * ABANDON_SECONDS)
        assert [stored.saga.id for stored in await house.claim()] == [running.instance.saga.id]

    async def test_a_start_that_nobody_waits_for_fails_silently(self, house: House) -> None:
        """The request may have gone: no warning of an exception never retrieved."""
        runner = House(house.clock, log=ToldLog(house.clock, start=LogUnavailable())).runner()
        running = runner.launch(a_saga())
        await through(running)
        del running


class TestWaiting:
    async def test_a_cancelled_waiter_never_cancels_the_saga(self, house: House) -> None:
        """A client that hangs up does its saga no harm."""
        gate = Gate()
        running = house.runner(payment=[gate]).launch(a_saga())
        waiter = asyncio.create_task(running.wait_done(60))
        await gate.reached.wait()
        waiter.cancel()
        await asyncio.wait({waiter})
        assert waiter.cancelled()
        gate.open.set()
        await through(running)
        assert running.instance.state.status is SagaStatus.COMPLETED

    async def test_a_waiter_that_has_waited_long_enough_goes(self, house: House) -> None:
        """And the saga continues."""
        gate = Gate()
        running = house.runner(payment=[gate]).launch(a_saga())
        await gate.reached.wait()
        await running.wait_done(0)
        assert not running.inactive
        gate.open.set()
        await running.wait_done(60)
        assert running.inactive


class TestResuming:
    async def test_a_claimed_saga_continues_from_the_log(self, house: House) -> None:
        """Under its new epoch; it shows at once, as it is durable."""
        first = house.runner(inventory=[HANG])
        running = first.launch(a_saga())
        await settle()
        await first.drop()
        (stored,) = await house.claim()
        second = house.runner()
        resumed = second.resume(stored)
        assert second.get(stored.saga.id) is resumed
        await through(resumed)
        assert told(resumed.instance.events) == [
            "saga_started",
            "step_succeeded payment",
            "saga_recovered",
            "step_succeeded inventory",
            "step_succeeded shipping",
            "saga_completed",
        ]
        assert (resumed.instance.epoch, running.instance.epoch) == (2, 1)
        assert house.journal.count("payment.execute") == 1

    async def test_a_saga_of_an_unknown_definition_is_not_resumed(self, house: House) -> None:
        """To a process that has it."""
        stored = await self._stored(house)
        with pytest.raises(DefinitionUnknown):
            house.runner().resume(stored)

    @staticmethod
    async def _stored(house: House) -> Any:
        saga = a_saga(version=9)
        await house.log.start(
            saga, SagaEvent(seq=1, at=house.clock.now(), type=EventType.SAGA_STARTED), owner="a"
        )
        return await house.log.load(saga.id)


class TestBreakingDown:
    async def test_a_broken_loop_abandons_the_saga_to_another(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After a rest, with `saga_recovered` in the trail, although this process is alive."""
        log = ToldLog(house.clock, append=ZeroDivisionError())
        broken = House(house.clock, log=log)
        await log.renew("local", seconds=3600)
        with caplog.at_level(logging.CRITICAL):
            running = broken.runner().launch(a_saga())
            await through(running)
        assert await broken.claim() == []
        house.clock.advance(ABANDON_SECONDS)
        (stored,) = await broken.claim()
        assert told(stored.events) == ["saga_started", "saga_recovered"]
        log.append_fails = None
        again = broken.runner().resume(stored)
        await through(again)
        assert again.instance.state.status is SagaStatus.COMPLETED

    @pytest.mark.parametrize("error", [LogUnavailable(stored=None), LogRefused()])
    async def test_an_append_that_can_not_be_stored_abandons_the_saga(
        self, house: House, error: Exception
    ) -> None:
        """What was done may be unknown to the log, so whoever comes next treats it as in doubt."""
        broken = House(house.clock, log=ToldLog(house.clock, append=error))
        await broken.log.renew("local", seconds=3600)
        running = broken.runner().launch(a_saga())
        await through(running)
        house.clock.advance(ABANDON_SECONDS)
        (stored,) = await broken.claim()
        assert told(stored.events)[-1] == "saga_recovered"

    async def test_a_saga_whose_log_lost_commits_is_abandoned(self, house: House) -> None:
        """After a failover it may still be ours, and not what we know of it: it is taken up anew from its log."""
        log = ToldLog(house.clock, append=SagaFenced())
        house = House(house.clock, log=log)
        running = house.runner().launch(a_saga())
        await through(running)
        log.append_fails = None
        house.clock.advance(2 * ABANDON_SECONDS)
        assert [stored.saga.id for stored in await house.claim()] == [running.instance.saga.id]

    async def test_a_saga_that_can_not_be_abandoned_at_once_is_abandoned_later(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log is away: it is tried until it is back, or a living owner would own what nobody runs."""
        log = ToldLog(house.clock, append=LogUnavailable())
        log.abandon_fails = [LogUnavailable(), LogUnavailable()]
        broken = House(house.clock, log=log)
        await log.renew("local", seconds=3600)
        await through(broken.runner().launch(a_saga()))
        assert [one for one in caplog.messages if one.startswith("saga_abandon")] == [
            "saga_abandon_failed",
            "saga_abandon_recovered",
        ]
        house.clock.advance(ABANDON_SECONDS)
        (stored,) = await broken.claim()
        assert told(stored.events)[-1] == "saga_recovered"

    async def test_a_saga_lost_to_another_is_not_abandoned(self, house: House) -> None:
        """It is the other's: this process stops and touches nothing."""
        gate = Gate()
        running = house.runner(payment=[gate]).launch(a_saga())
        await gate.reached.wait()
        (stolen,) = await house.claim()
        gate.open.set()
        await through(running)
        stored = await house.log.stored(stolen.saga.id)
        assert stored == stolen

    async def test_a_saga_whose_step_was_cancelled_from_inside_is_not_lost(self, house: House) -> None:
        """Either it continues here or it is abandoned; never owned by the living and run by nobody."""
        await house.log.renew("local", seconds=3600)
        running = house.runner(payment=[asyncio.CancelledError()]).launch(a_saga())
        await through(running)
        house.clock.advance(ABANDON_SECONDS)
        assert running.inactive or await house.claim()

    async def test_a_lapsed_lease_stops_the_saga_without_a_word(self, house: House) -> None:
        """A lapse is a death: others come."""
        lease = Lease(house.clock, "a", seconds=10)
        lease.renewed(house.clock.monotonic())
        gate = Gate()
        running = house.runner(lease=lease, payment=[gate]).launch(a_saga())
        await gate.reached.wait()
        lease.lost()
        gate.open.set()
        await through(running)
        assert "inventory.execute" not in " ".join(house.journal)
        assert not running.inactive

    async def test_without_a_lease_no_saga_is_started(self, house: House) -> None:
        """It would be stored for an owner who may not run it, and its first send would end the next lease."""
        running = house.runner(lease=Lease(house.clock, "a", seconds=10)).launch(a_saga())
        await through(running)
        with pytest.raises(LogUnavailable) as refused:
            running.started.result()
        assert refused.value.stored is False
        assert house.journal == []


class TestStopping:
    async def test_draining_lets_sagas_finish(self, house: House) -> None:
        """What can end in time does."""
        gate = Gate()
        runner = house.runner(payment=[gate])
        running = runner.launch(a_saga())
        await gate.reached.wait()
        draining = asyncio.create_task(runner.drain(60))
        await settle()
        gate.open.set()
        await draining
        assert running.instance.state.status is SagaStatus.COMPLETED

    async def test_draining_stops_what_does_not_finish_where_it_is(self, house: House) -> None:
        """The log has all that others need, and every waiter is let go."""
        runner = house.runner(inventory=[HANG])
        running = runner.launch(a_saga())
        waiter = asyncio.create_task(running.wait_done(60))
        await settle()
        await runner.drain(0)
        await waiter
        assert not running.inactive
        assert runner.in_flight == 0
        assert await house.log.trail(running.instance.saga.id) == ["saga_started", "step_succeeded payment"]
        (stored,) = await house.claim()
        resumed = house.runner().resume(stored)
        await through(resumed)
        assert resumed.instance.state.status is SagaStatus.COMPLETED

    async def test_draining_nothing_ends_at_once(self, house: House) -> None:
        """No saga, no wait."""
        await house.runner().drain(60)

    async def test_dropping_answers_who_waits_for_a_start(self, house: House) -> None:
        """Nobody can tell whether it was stored, and the answer says so."""

        class Slow(NotedLog):
            async def start(self, *_: Any, **__: Any) -> StartResult:
                await asyncio.Event().wait()
                raise AssertionError

        runner = House(house.clock, log=Slow(house.clock, [])).runner()
        running = runner.launch(a_saga())
        await settle()
        await runner.drop()
        error = running.started.exception()
        assert isinstance(error, LogUnavailable)
        assert error.stored is None
        assert running.done.done()

    async def test_sagas_in_flight_are_counted(self, house: House) -> None:
        """Admission asks for it."""
        runner = house.runner(payment=[HANG] * 3)
        for _ in range(3):
            runner.launch(a_saga())
        await settle()
        assert runner.in_flight == 3
        await runner.drop()
        assert runner.in_flight == 0

    async def test_a_saga_dropped_while_compensating_is_compensated_by_the_next(self, house: House) -> None:
        """The way back survives as the way forward does."""
        runner = house.runner(inventory=[StepRejected()], undo_payment=[HANG])
        running = runner.launch(a_saga())
        await settle()
        await runner.drop()
        (stored,) = await house.claim()
        assert stored.status is SagaStatus.COMPENSATING
        resumed = house.runner().resume(stored)
        await through(resumed)
        assert resumed.instance.state.status is SagaStatus.COMPENSATED
        assert running.instance.epoch < resumed.instance.epoch


def test_a_broken_saga_is_claimed_again_soon() -> None:
    """Long enough not to spin, short enough not to be noticed."""
    assert timedelta(seconds=0) < timedelta(seconds=ABANDON_SECONDS) <= timedelta(seconds=10)


async def test_a_saga_that_is_dropped_before_it_started_is_forgotten() -> None:
    """Its task is cancelled before its first line; a view of it would stand still here for ever."""
    runner = House().runner()
    running = runner.launch(a_saga())
    await runner.drop()
    assert runner.in_flight == 0
    assert running.done.done()
    with pytest.raises(LogUnavailable):
        running.started.result()
