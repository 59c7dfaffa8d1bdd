"""The loop: decide, do, append. What is asked outside, in which order, and what is durable when."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from app.saga import (
    Context,
    EventType,
    MemoryLog,
    RetryPolicy,
    SagaEvent,
    SagaOrchestrator,
    SagaStatus,
    StepStatus,
    StepUnavailable,
)
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.errors import LogError
from app.saga.model.step import JSON
from app.saga.rules.fold import fold
from tests.builders import (
    HANG,
    NOON,
    Answer,
    a_definition,
    a_saga,
    a_step,
    a_trail,
    settle,
    started,
    succeeded,
    three_steps,
    times,
    told,
)
from tests.unit.saga.engine.stage import DOUBT, DOWN, NO, Stage


class TestOrder:
    """Of the calls to the outside and of what becomes durable between them."""

    async def test_a_completed_saga_of_three_steps_takes_four_appends(self, stage: Stage) -> None:
        """One durable point at each boundary; nothing is sent before `saga_started` is durable."""
        await stage.play()
        assert stage.journal == [
            "log saga_started",
            "payment.execute",
            "log step_succeeded",
            "inventory.execute",
            "log step_succeeded",
            "shipping.execute",
            "log step_succeeded + saga_completed",
        ]
        assert len(stage.log.writes) == 4

    async def test_a_saga_compensated_from_its_third_step_takes_six_appends(self, stage: Stage) -> None:
        """Each compensation is acknowledged and durable before the next is sent, in reverse."""
        await stage.play(shipping=[NO])
        assert stage.journal[4:] == [
            "log step_succeeded",
            "shipping.execute",
            "log step_failed",
            "inventory.compensate",
            "log step_compensated",
            "payment.compensate",
            "log step_compensated + saga_compensated",
        ]
        assert len(stage.log.writes) == 6

    async def test_a_first_step_that_is_rejected_ends_the_saga_in_the_same_append(self, stage: Stage) -> None:
        """There is nothing to undo, so nothing is asked."""
        run = await stage.play(payment=[NO])
        assert stage.journal == ["log saga_started", "payment.execute", "log step_failed + saga_compensated"]
        assert run.state.status is SagaStatus.COMPENSATED

    async def test_a_step_that_certainly_had_no_effect_is_not_compensated(self, stage: Stage) -> None:
        """Neither rejected at once nor rejected after being unavailable."""
        await stage.play(inventory=[DOWN, NO])
        assert "inventory.compensate" not in stage.journal
        assert "payment.compensate" in stage.journal

    async def test_a_step_in_doubt_is_compensated_before_the_others(self, stage: Stage) -> None:
        """It is sent again first, and closed when its attempts end."""
        run = await stage.play(inventory=[DOUBT, DOUBT])
        assert [line for line in stage.journal if "." in line] == [
            "payment.execute",
            "inventory.execute",
            "inventory.execute",
            "inventory.compensate",
            "payment.compensate",
        ]
        assert run.state.status is SagaStatus.COMPENSATED

    async def test_a_failing_compensation_never_holds_back_another(self, stage: Stage) -> None:
        """All that can run do; the rest waits for a person."""
        run = await stage.play(shipping=[NO], undo_inventory=times(2, DOWN))
        assert stage.journal[-5:] == [
            "log compensation_retried",
            "inventory.compensate",
            "log compensation_failed",
            "payment.compensate",
            "log step_compensated + saga_needs_attention",
        ]
        assert run.state.status is SagaStatus.NEEDS_ATTENTION
        assert run.state.step("payment").status is StepStatus.COMPENSATED

    async def test_a_compensation_rejected_is_not_sent_again(self, stage: Stage) -> None:
        """What can't be compensated is left to an operator at once."""
        await stage.play(shipping=[NO], undo_inventory=[NO])
        assert stage.journal.count("inventory.compensate") == 1

    async def test_past_the_pivot_nothing_is_compensated(self, stage: Stage) -> None:
        """A step to retry that is abandoned needs an operator."""
        run = await stage.play(pivot="inventory", shipping=[NO])
        assert run.state.status is SagaStatus.NEEDS_ATTENTION
        assert not [line for line in stage.journal if line.endswith("compensate")]

    async def test_what_is_durable_is_what_the_run_knows(self, stage: Stage) -> None:
        """The state in memory is the fold of the log, never ahead of it."""
        run = await stage.play(inventory=[DOUBT], shipping=[DOWN, DOWN])
        stored = await stage.log.stored(run.saga.id)
        assert tuple(run.events) == stored.events
        assert run.state == fold(run.definition, stored.events)
        assert run.state.status is stored.status is SagaStatus.COMPENSATED


class TestRetrying:
    """Pauses between the sends of one action."""

    async def test_the_same_body_is_sent_on_every_attempt(self, stage: Stage) -> None:
        """A repeat is recognised: neither an attempt nor a time is in what a step is given."""
        step = a_step("payment", answers=[DOUBT, DOWN], journal=stage.journal)
        await stage.run(a_definition([step], policy=RetryPolicy(attempts=3)))
        assert len(step.executed) == 3
        assert step.executed[0] == step.executed[1] == step.executed[2]

    async def test_what_a_step_does_to_its_context_never_reaches_the_next_attempt(self, stage: Stage) -> None:
        """Not even deep inside: each send gets its context anew."""
        seen: list[JSON] = []

        async def scribble(context: Context) -> Mapping[str, JSON]:
            seen.append(list(context["items"]))
            context["items"].append("junk")
            raise DOWN

        step = a_step(answers=[scribble, scribble])
        run = SagaInstance(a_saga(input={"items": ["shirt"]}), a_definition([step]))
        orchestrator = stage.orchestrator(run.definition)
        await orchestrator.start(run)
        await orchestrator.run(run)
        assert seen == [["shirt"], ["shirt"]]

    async def test_it_waits_between_attempts(self, stage: Stage) -> None:
        """Exponential, at most as long as the policy lets it."""
        await stage.play(
            policy=RetryPolicy(attempts=4, base=1, cap=3),
            payment=[DOWN, StepUnavailable(retry_after=2.5), DOUBT],
        )
        assert stage.clock.slept == [1, 2.5, 3]

    async def test_a_compensation_waits_by_its_own_policy(self, stage: Stage) -> None:
        """Its budget is its own."""
        await stage.play(
            compensation=RetryPolicy(attempts=5, base=4, cap=60), inventory=[NO], undo_payment=times(4, DOUBT)
        )
        assert stage.clock.slept == [4, 8, 16, 32]

    async def test_a_saga_past_its_deadline_turns_back(self, stage: Stage) -> None:
        """It does not wait out a pause that ends after it, and says why it failed."""
        steps = three_steps(stage.journal, inventory=[DOWN])
        policy = RetryPolicy(attempts=9, base=600, cap=600)
        run = await stage.run(a_definition(steps, policy=policy, deadline=60))
        assert stage.clock.slept == [60]
        assert run.state.failure is not None
        assert run.state.failure.code == "deadline_exceeded"
        assert run.state.status is SagaStatus.COMPENSATED
        assert stage.journal.count("inventory.execute") == 1


class TestUnforeseen:
    """Whatever else a step does counts as an outcome nobody knows."""

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            pytest.param(RuntimeError("card 4242…"), "unforeseen", id="an exception"),
            pytest.param(KeyError("x"), "unforeseen", id="a mistake in the step"),
            pytest.param({"at": NOON}, "unforeseen", id="a result that is not JSON"),
            pytest.param({"amount": float("nan")}, "unforeseen", id="NaN"),
            pytest.param(["a", "list"], "unforeseen", id="a list"),
            pytest.param("text", "unforeseen", id="a text"),
            pytest.param({"n": 10**5000}, "unforeseen", id="a number beyond measure"),
            pytest.param(TimeoutError(), "timeout", id="a time-out of its own"),
        ],
    )
    async def test_it_counts_as_unknown(self, stage: Stage, answer: Answer, code: str) -> None:
        """It may have happened: sent again, then compensated too."""
        run = await stage.play(payment=[answer, answer])
        assert told(run.events) == [
            "saga_started",
            "step_retried payment",
            "step_unknown payment",
            "step_compensated payment",
            "saga_compensated",
        ]
        assert run.events[1].data["error"]["code"] == code

    async def test_a_message_of_somebody_else_s_is_not_kept(self, stage: Stage) -> None:
        """It may hold a customer's data."""
        run = await stage.play(payment=[RuntimeError("card 4242"), None])
        assert "4242" not in str(run.events)

    @pytest.mark.parametrize("direction", ["execute", "compensate"])
    async def test_a_time_out_counts_as_unknown(self, stage: Stage, direction: str) -> None:
        """The step is cancelled when its time is over, and may have taken effect."""
        hasty = RetryPolicy(timeout=1e-6, attempts=2, base=0, cap=0)
        if direction == "execute":
            run = await stage.play(policy=hasty, payment=[HANG, HANG])
            assert told(run.events)[1:3] == ["step_retried payment", "step_unknown payment"]
            assert run.state.failure is not None
            assert (run.state.failure.code, run.state.failure.kind) == ("timeout", "timeout")
        else:
            run = await stage.play(compensation=hasty, inventory=[NO], undo_payment=[HANG, HANG])
            assert told(run.events)[3:5] == ["compensation_retried payment", "compensation_failed payment"]

    async def test_a_cancellation_from_inside_a_step_counts_as_unknown(self, stage: Stage) -> None:
        """Nobody stopped the saga: a task of the step's own was cancelled, as clients of pools do."""
        task = asyncio.create_task(stage.play(payment=[asyncio.CancelledError(), None]))
        await asyncio.wait({task})
        assert not task.cancelled(), "the saga died with its step's inner task"
        assert task.result().state.status is SagaStatus.COMPLETED

    async def test_a_cancellation_from_outside_stops_the_saga_where_it_is(self, stage: Stage) -> None:
        """Shutdown is no answer of the step's: nothing is recorded."""
        task = asyncio.create_task(stage.play(payment=[HANG]))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stage.journal == ["log saga_started", "payment.execute"]

    async def test_an_empty_answer_is_a_success(self, stage: Stage) -> None:
        """A step need not return anything."""
        run = await stage.play(payment=[None])
        assert run.state.step("payment").result == {}


class TestObservers:
    """Logs, metrics and traces watch."""

    async def test_they_get_the_events_of_each_append_once_they_are_durable(self, stage: Stage) -> None:
        """In the trail's order, after the append."""

        def watch(_: str, events: Sequence[SagaEvent]) -> None:
            stage.journal.append(f"seen {' + '.join(event.type for event in events)}")

        definition = a_definition([a_step("payment", answers=[NO], journal=stage.journal)])
        await stage.run(definition, observers=[watch])
        assert stage.journal == [
            "log saga_started",
            "seen saga_started",
            "payment.execute",
            "log step_failed + saga_compensated",
            "seen step_failed + saga_compensated",
        ]

    async def test_one_that_raises_does_no_harm(self, stage: Stage) -> None:
        """Neither to the saga nor to the other observers."""
        seen: list[EventType] = []

        def broken(_: str, events: Sequence[SagaEvent]) -> None:
            raise RuntimeError(events)

        def watch(_: str, events: Sequence[SagaEvent]) -> None:
            seen.extend(event.type for event in events)

        run = await stage.run(a_definition(), observers=[broken, watch])
        assert run.state.status is SagaStatus.COMPLETED
        assert seen == [event.type for event in run.events]


class TestExecute:
    """The first sketch's way: steps, a context, and how it ended."""

    async def test_the_context_gets_each_result_under_its_step(self) -> None:
        """A plain dictionary, as later steps see it."""
        context: Context = {"amount": 1999}
        state = await SagaOrchestrator(three_steps()).execute(context, saga_id="s-1")
        assert state.status is SagaStatus.COMPLETED
        assert context == {
            "amount": 1999,
            "payment": {"payment_id": "payment-1"},
            "inventory": {"inventory_id": "inventory-1"},
            "shipping": {"shipping_id": "shipping-1"},
        }

    async def test_a_step_sees_the_results_of_those_before_it(self) -> None:
        """And the saga's id, from which it makes its reference."""
        steps = three_steps()
        await SagaOrchestrator(steps).execute({"amount": 1}, saga_id="s-1")
        assert steps[1].executed == [{"amount": 1, "saga_id": "s-1", "payment": {"payment_id": "payment-1"}}]

    async def test_a_compensation_sees_what_its_step_returned(self) -> None:
        """It may need the result to undo it."""
        steps = three_steps(shipping=[NO])
        await SagaOrchestrator(steps).execute({}, saga_id="s-1")
        assert steps[0].compensated[0]["payment"] == {"payment_id": "payment-1"}

    async def test_the_same_saga_is_not_run_twice(self) -> None:
        """An id belongs to one saga."""
        steps = three_steps()
        orchestrator = SagaOrchestrator(steps, MemoryLog())
        await orchestrator.execute({}, saga_id="s-1")
        with pytest.raises(LogError):
            await orchestrator.execute({}, saga_id="s-1")
        assert len(steps[0].executed) == 1

    async def test_a_saga_continues_from_any_trail(self, stage: Stage) -> None:
        """Recovery is the same loop on what the log holds."""
        steps = three_steps(stage.journal)
        definition = a_definition(steps)
        saga = a_saga()
        await stage.log.start(saga, started(), owner="a")
        await stage.log.append(saga.id, epoch=1, events=a_trail(started(), succeeded("payment"))[1:])
        run = SagaInstance.of(await stage.log.stored(saga.id), definition)
        await stage.orchestrator(definition).run(run)
        assert run.state.status is SagaStatus.COMPLETED
        assert stage.journal[2:4] == ["inventory.execute", "log step_succeeded"]

    async def test_running_a_saga_at_rest_does_nothing(self, stage: Stage) -> None:
        """A finished saga is never touched again."""
        run = await stage.play()
        before = list(stage.journal)
        await stage.orchestrator(run.definition).run(run)
        assert stage.journal == before
