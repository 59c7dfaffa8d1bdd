"""When the loop leaves a saga: it waits too long, its lease has ended, or its log is away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from app.saga import (
    Context,
    LogUnavailable,
    RetryPolicy,
    SagaEvent,
    SagaFenced,
    SagaStatus,
    StepOutcomeUnknown,
)
from app.saga.engine.lease import Lease
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.errors import LeaseLost
from app.saga.ports.log import IdempotencyConflict, Stored
from app.saga.rules.fold import fold
from tests.builders import (
    NotedLog,
    ScriptedStep,
    a_definition,
    a_saga,
    three_steps,
    told,
)
from tests.unit.saga.engine.stage import DOWN, NO, Stage


class TestParking:
    """A pause that is too long to be waited for in memory."""

    POLICY = RetryPolicy(attempts=3, base=100, cap=100)

    async def parked(self, stage: Stage, steps: Sequence[ScriptedStep]) -> SagaInstance:
        return await stage.run(a_definition(steps, policy=self.POLICY), park_after=60)

    async def test_a_long_pause_gives_the_saga_back(self, stage: Stage) -> None:
        """With the time at which it is due; nothing sleeps for it."""
        run = await self.parked(stage, three_steps(stage.journal, inventory=[DOWN]))
        assert run.parked
        assert stage.clock.slept == []
        change = stage.log.changes[-1]
        assert change is not None
        assert (change.park, change.status, change.next_action_at) == (
            True,
            SagaStatus.RUNNING,
            run.state.next_action_at,
        )

    async def test_a_short_pause_is_waited_for(self, stage: Stage) -> None:
        """Giving back costs a commit and a claim."""
        run = await stage.run(
            a_definition(three_steps(stage.journal, inventory=[DOWN]), policy=self.POLICY), park_after=100
        )
        assert (run.parked, stage.clock.slept) == (False, [100])

    async def test_a_parked_saga_is_resumed_where_it_stopped(self, stage: Stage) -> None:
        """By whoever claims it, with the attempts that it had, and without a takeover in its trail."""
        steps = three_steps(stage.journal, inventory=[DOWN])
        run = await self.parked(stage, steps)
        assert await stage.log.claim(owner="b", definitions=[("checkout", 2)], limit=9) == []
        stage.clock.advance(100)
        (claimed,) = await stage.log.claim(owner="b", definitions=[("checkout", 2)], limit=9)
        resumed = SagaInstance.of(claimed, run.definition)
        await stage.orchestrator(run.definition, park_after=60).run(resumed)
        assert told(resumed.events) == [
            "saga_started",
            "step_succeeded payment",
            "step_retried inventory",
            "step_succeeded inventory",
            "step_succeeded shipping",
            "saga_completed",
        ]
        assert resumed.state.step("inventory").attempts == 2
        assert stage.journal.count("payment.execute") == 1

    async def test_a_compensation_is_parked_too(self, stage: Stage) -> None:
        """As compensating, and due when its own pause ends."""
        steps = three_steps(stage.journal, inventory=[NO], undo_payment=[DOWN])
        run = await stage.run(a_definition(steps, compensation=self.POLICY), park_after=60)
        change = stage.log.changes[-1]
        assert change is not None
        assert (run.parked, change.status) == (True, SagaStatus.COMPENSATING)

    @pytest.mark.parametrize(
        ("asked", "forward", "back"), [(120.0, 120.0, 120.0), (900.0, 300.0, 900.0), (9e9, 300.0, 3600.0)]
    )
    async def test_a_pause_that_a_service_asks_for_is_parked(
        self, stage: Stage, asked: float, forward: float, back: float
    ) -> None:
        """Forward as far as the deadline, back for an hour at most; the back-off's cap is 8 s here."""
        later = StepOutcomeUnknown(code="unavailable", retry_after=asked)
        run = await stage.run(a_definition(three_steps(stage.journal, payment=[later])), park_after=5)
        change = stage.log.changes[-1]
        assert change is not None
        assert (change.park, change.next_action_at) == (True, stage.clock.now() + timedelta(seconds=forward))
        assert run.state.next_action_at == change.next_action_at

        steps = three_steps(stage.journal, inventory=[NO], undo_payment=[later])
        run = await stage.run(a_definition(steps), park_after=5)
        change = stage.log.changes[-1]
        assert change is not None
        assert (change.park, change.next_action_at) == (True, stage.clock.now() + timedelta(seconds=back))
        assert stage.clock.slept == []


class TestLease:
    """A process acts only while its lease holds."""

    async def test_nothing_is_sent_once_the_lease_has_lapsed(self, stage: Stage) -> None:
        """Asked right before the send; nothing is recorded either, as others may own the saga by now."""
        lease = Lease(stage.clock, "a", seconds=10)
        lease.renewed(stage.clock.monotonic())

        async def linger(_: Context) -> None:
            stage.clock.advance(10)

        definition = a_definition(three_steps(stage.journal, payment=[linger]))
        with pytest.raises(LeaseLost):
            await stage.run(definition, lease=lease)
        assert stage.journal == ["log saga_started", "payment.execute", "log step_succeeded"]

    async def test_a_compensation_is_not_sent_either(self, stage: Stage) -> None:
        """Neither direction."""
        lease = Lease(stage.clock, "a", seconds=10)
        lease.renewed(stage.clock.monotonic())

        async def linger_and_refuse(_: Context) -> None:
            stage.clock.advance(10)
            raise NO

        definition = a_definition(three_steps(stage.journal, inventory=[linger_and_refuse]))
        with pytest.raises(LeaseLost):
            await stage.run(definition, lease=lease)
        assert not [line for line in stage.journal if line.endswith("compensate")]

    async def test_the_saga_belongs_to_the_lease_s_owner(self, stage: Stage) -> None:
        """From its first event on."""
        await stage.log.renew("a", seconds=10)
        lease = Lease(stage.clock, "a", seconds=10)
        lease.renewed(stage.clock.monotonic())
        run = SagaInstance(a_saga(), a_definition())
        await stage.orchestrator(run.definition, lease=lease).start(run)
        assert await stage.log.claim(owner="b", definitions=[("checkout", 2)], limit=9) == []
        stage.clock.advance(10)
        assert len(await stage.log.claim(owner="b", definitions=[("checkout", 2)], limit=9)) == 1

    async def test_a_process_that_lost_the_saga_stops_at_the_next_append(self, stage: Stage) -> None:
        """The log fences it: the answer that it got is not recorded, and nothing more is sent."""

        async def be_robbed(_: Context) -> None:
            assert await stage.log.claim(owner="b", definitions=[("checkout", 2)], limit=1)

        definition = a_definition(three_steps(stage.journal, payment=[be_robbed]))
        run = SagaInstance(a_saga(), definition)
        orchestrator = stage.orchestrator(definition)
        await orchestrator.start(run)
        with pytest.raises(SagaFenced):
            await orchestrator.run(run)
        assert await stage.log.trail(run.saga.id) == ["saga_started", "saga_recovered"]
        assert told(run.events) == ["saga_started"]


class TestLogAway:
    """What can't be stored did not happen for the run."""

    async def test_nothing_continues_from_an_event_that_is_not_durable(self, stage: Stage) -> None:
        """The error reaches the caller, and the run still stands where the log does."""

        class Full(NotedLog):
            async def append(self, *_: Any, **__: Any) -> None:
                raise LogUnavailable

        stage.log = Full(stage.clock, stage.journal)
        seen: list[SagaEvent] = []
        run = SagaInstance(a_saga(), a_definition(three_steps(stage.journal)))
        orchestrator = stage.orchestrator(run.definition, observers=[lambda _, events: seen.extend(events)])
        await orchestrator.start(run)
        with pytest.raises(LogUnavailable):
            await orchestrator.run(run)
        assert stage.journal == ["log saga_started", "payment.execute"]
        assert told(run.events) == told(seen) == ["saga_started"]
        assert run.state == fold(run.definition, run.events)

    async def test_a_start_that_conflicts_in_the_log_does_not_run(self, stage: Stage) -> None:
        """Nothing is known, nothing is told, nothing is sent."""
        definition = a_definition(three_steps(stage.journal))
        first, second = (SagaInstance(a_saga(idempotency_key="k"), definition) for _ in range(2))
        seen: list[str] = []
        orchestrator = stage.orchestrator(definition, observers=[lambda saga_id, _: seen.append(saga_id)])
        assert await orchestrator.start(first) == Stored()
        assert await orchestrator.start(second) == IdempotencyConflict(
            saga_id=first.saga.id, fingerprint=None
        )
        assert second.events == []
        assert seen == [first.saga.id]
