"""What an operator does to a saga, as the fold, the decisions and the loop have it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from app.saga import (
    Context,
    EventType,
    SagaDefinition,
    SagaEvent,
    SagaOrchestrator,
    SagaState,
    SagaStatus,
    StepOutcomeUnknown,
    StepRejected,
    StepStatus,
    StepUnavailable,
)
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.errors import IllegalEvent
from app.saga.model.step import JSON
from app.saga.rules.answers import after_compensate, after_execute
from app.saga.rules.decide import POISON_AFTER, decide
from app.saga.rules.decisions import Compensate, Execute, LookUp, Record
from app.saga.rules.fold import apply
from app.saga.rules.next_event import cancellation_event
from tests.builders import (
    NOON,
    QUICK,
    Answer,
    Journal,
    NotedLog,
    VirtualClock,
    a_definition,
    a_saga,
    a_state,
    an_action,
    an_event,
    by_person,
    compensated,
    compensation_failed,
    compensation_retried,
    failed,
    finished,
    retried,
    settle,
    succeeded,
    the_most,
    three_steps,
    unknown,
    was_recovered,
)

CANCEL = by_person(EventType.CANCEL_REQUESTED)
RETRY = by_person(EventType.RETRY_REQUESTED)
ATTEND = finished(EventType.SAGA_NEEDS_ATTENTION)
POISONED = an_event(
    EventType.SAGA_NEEDS_ATTENTION,
    data={"error": {"code": "poisoned", "message": "", "kind": "poisoned"}},
)
PIVOTED = a_definition(pivot="inventory")
STUCK = (
    succeeded("payment"),
    succeeded("inventory"),
    failed("shipping"),
    compensation_failed("inventory", 2),
    compensation_failed("payment", 2),
    ATTEND,
)
STUCK_FORWARD = (succeeded("payment"), succeeded("inventory"), failed("shipping", 2), ATTEND)
PARKED = (succeeded("payment"), *[was_recovered()] * POISON_AFTER, POISONED)


def resolve(step: str, **data: JSON) -> SagaEvent:
    return by_person(EventType.STEP_RESOLVED, step, **data)


def statuses(state: SagaState) -> list[StepStatus]:
    return [step.status for step in state.steps]


def recorded(definition: SagaDefinition, state: SagaState) -> SagaEvent:
    decision = decide(definition, state, NOON)
    assert isinstance(decision, Record)
    return decision.event


class TestCancel:
    @pytest.mark.parametrize(
        ("before", "given_up", "undone"),
        [
            ([succeeded("payment")], EventType.STEP_FAILED, "payment"),
            ([succeeded("payment"), retried("inventory")], EventType.STEP_FAILED, "payment"),
            (
                [succeeded("payment"), retried("inventory", outcome="unknown")],
                EventType.STEP_UNKNOWN,
                "inventory",
            ),
            ([succeeded("payment"), was_recovered()], EventType.STEP_UNKNOWN, "inventory"),
        ],
    )
    def test_the_current_step_is_abandoned_and_compensated_if_it_may_have_happened(
        self, before: list[SagaEvent], given_up: EventType, undone: str
    ) -> None:
        """A definite no is a failure without effect; a doubt, or a takeover, is compensated like a success."""
        definition = a_definition()
        state = a_state(*before, CANCEL)
        assert state.cancelled_by is not None
        assert (state.cancelled_by.who, state.cancelled_by.reason) == ("ada", "The customer called.")
        event = recorded(definition, state)
        assert (event.type, event.step) == (given_up, "inventory")
        state = apply(state, event)
        assert state.status is SagaStatus.COMPENSATING
        assert state.failure is not None
        assert (state.failure.code, state.failure.retryable) == ("cancelled", False)
        due = decide(definition, state, NOON)
        assert isinstance(due, Compensate)
        assert due.step.name == undone

    def test_it_goes_before_the_deadline(self) -> None:
        """Who stopped it is what it failed for, also where its time was over by then."""
        state = a_state(CANCEL)
        decision = decide(a_definition(), state, NOON + timedelta(hours=1))
        assert isinstance(decision, Record)
        assert decision.event.data["error"]["code"] == "cancelled"

    @pytest.mark.parametrize(
        "trail",
        [
            [succeeded("payment"), succeeded("inventory")],
            [succeeded("payment"), failed("inventory")],
            [*STUCK],
            [CANCEL],
        ],
    )
    def test_past_the_pivot_or_on_the_way_back_it_is_not_heeded(self, trail: list[SagaEvent]) -> None:
        """Nor is it a second time; and a log that says so is not one that this code wrote."""
        state = a_state(*trail, definition=PIVOTED if len(trail) == 2 else None)
        assert cancellation_event(state, an_action(), NOON) is None
        with pytest.raises(IllegalEvent):
            apply(state, an_event(EventType.CANCEL_REQUESTED, seq=state.seq + 1, data=CANCEL.data))

    def test_a_saga_parked_on_its_way_forward_is_cancelled_too(self) -> None:
        """A poison that can't be executed can still be compensated."""
        state = a_state(*PARKED, CANCEL)
        assert (state.status, state.failure, state.recoveries) == (SagaStatus.RUNNING, None, 0)
        assert recorded(a_definition(), state).type is EventType.STEP_UNKNOWN


class TestRetry:
    def test_failed_compensations_are_tried_again_in_the_reverse_order_of_completion(self) -> None:
        state = a_state(*STUCK, RETRY)
        assert state.status is SagaStatus.COMPENSATING
        for name in ("inventory", "payment"):
            due = decide(a_definition(), state, NOON)
            assert isinstance(due, Compensate)
            assert (due.step.name, due.attempt) == (name, 3)
            done = compensated(name, due.attempt)
            state = apply(state, an_event(done.type, name, seq=state.seq + 1, attempt=done.attempt))
        assert recorded(a_definition(), state).type is EventType.SAGA_COMPENSATED

    def test_a_compensated_step_is_not_compensated_again(self) -> None:
        """Only what failed is sent again."""
        trail = [*STUCK[:3], compensated("inventory"), compensation_failed("payment"), ATTEND]
        state = a_state(*trail, RETRY)
        assert statuses(state) == [
            StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.FAILED,
        ]  # fmt: skip

    def test_a_doubtful_step_stays_one(self) -> None:
        """Its compensation is due again, and what it may have done is not forgotten."""
        trail = [unknown("payment"), compensation_failed("payment"), ATTEND]
        state = a_state(*trail, RETRY)
        assert state.next_compensation is not None
        assert (
            state.next_compensation.name,
            state.completion_order,
            state.next_compensation.outcome_unknown,
        ) == ("payment", ("payment",), True)

    @pytest.mark.parametrize(("attempt", "event"), [(3, "compensation_retried"), (4, "compensation_failed")])
    def test_a_compensation_has_its_whole_budget_again(self, attempt: int, event: str) -> None:
        """Two attempts are allowed; numbers go on rising, and the pauses begin small again."""
        more = [compensation_retried("inventory", 3)] if attempt == 4 else []
        state = a_state(*STUCK, RETRY, *more)
        due = decide(a_definition(), state, NOON)
        assert isinstance(due, Compensate)
        assert due.attempt == attempt
        said = after_compensate(due, state, StepUnavailable(), now=NOON, duration_ms=1.0, jitter=the_most)
        assert said.type == event
        if attempt == 3:
            assert said.data["next_action_at"] == "2026-01-01T12:00:01.000000Z"

    @pytest.mark.parametrize(("attempt", "event"), [(3, "step_retried"), (4, "step_failed")])
    def test_a_step_past_the_pivot_goes_forward_again_with_its_whole_budget(
        self, attempt: int, event: str
    ) -> None:
        more = [retried("shipping", 3)] if attempt == 4 else []
        state = a_state(*STUCK_FORWARD, RETRY, *more, definition=PIVOTED)
        assert (state.status, state.failure) == (SagaStatus.RUNNING, None)
        due = decide(PIVOTED, state, NOON)
        assert isinstance(due, Execute)
        assert (due.step.name, due.attempt) == ("shipping", attempt)
        said = after_execute(due, state, StepUnavailable(), now=NOON, duration_ms=1.0, jitter=the_most)
        assert said.type == event

    def test_the_key_window_still_rules(self) -> None:
        """What was first sent a day ago is looked up and not sent again, whoever asks for it."""
        state = a_state(*STUCK, RETRY)
        due = decide(a_definition(), state, NOON + timedelta(hours=23))
        assert isinstance(due, LookUp)
        assert due.compensating

    def test_a_poisonous_saga_has_its_takeovers_and_its_time_again(self) -> None:
        """It is not stopped for its deadline in the moment in which an operator has it tried again."""
        state = a_state(*PARKED, RETRY)
        assert (state.status, state.recoveries, state.failure) == (SagaStatus.RUNNING, 0, None)
        definition = a_definition(deadline=1.0)
        assert isinstance(decide(definition, state, NOON), Execute)
        assert isinstance(decide(definition, state, NOON + timedelta(seconds=2)), Record)

    @pytest.mark.parametrize("trail", [[], [failed("payment")], [succeeded("payment"), failed("inventory")]])
    def test_only_what_needs_attention_is_retried(self, trail: list[SagaEvent]) -> None:
        state = a_state(*trail)
        with pytest.raises(IllegalEvent):
            apply(state, an_event(EventType.RETRY_REQUESTED, seq=state.seq + 1, data=RETRY.data))


class TestResolve:
    def test_the_last_thing_that_failed_being_settled_the_saga_is_compensated(self) -> None:
        trail = [unknown("payment"), compensation_failed("payment"), ATTEND]
        state = a_state(*trail, resolve("payment", reference="transfer 1"))
        step = state.step("payment")
        assert step.status is StepStatus.COMPENSATED
        assert step.resolved_by is not None
        assert (step.resolved_by.who, step.resolved_by.reference) == ("ada", "transfer 1")
        assert recorded(a_definition(), state).type is EventType.SAGA_COMPENSATED

    def test_while_something_else_failed_the_saga_still_needs_attention(self) -> None:
        """Nothing is sent again for it."""
        state = a_state(*STUCK, resolve("payment"))
        assert statuses(state)[:2] == [StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED]
        assert recorded(a_definition(), state).type is EventType.SAGA_NEEDS_ATTENTION
        again = a_state(*STUCK, resolve("payment"), ATTEND, resolve("inventory"))
        assert recorded(a_definition(), again).type is EventType.SAGA_COMPENSATED

    @pytest.mark.parametrize(
        ("given", "result"), [({"reference": "parcel 7"}, {"reference": "parcel 7"}), ({}, {})]
    )
    def test_a_step_past_the_pivot_counts_as_done(
        self, given: dict[str, JSON], result: Mapping[str, JSON]
    ) -> None:
        """With what the person said as its result."""
        state = a_state(*STUCK_FORWARD, resolve("shipping", **given), definition=PIVOTED)
        step = state.step("shipping")
        assert (step.status, step.result, step.error) == (StepStatus.SUCCEEDED, result, None)
        assert recorded(PIVOTED, state).type is EventType.SAGA_COMPLETED

    @pytest.mark.parametrize("step", ["shipping", "loyalty"])
    def test_no_other_step_is_settled(self, step: str) -> None:
        state = a_state(*STUCK)
        with pytest.raises(IllegalEvent):
            apply(state, an_event(EventType.STEP_RESOLVED, step, seq=state.seq + 1, data=RETRY.data))

    def test_a_step_before_the_pivot_is_not_settled_forward(self) -> None:
        """A poisonous one is retried or cancelled: whether it happened is the service's to say."""
        assert not a_state(*PARKED).resolvable("inventory")


class Gate:
    """An answer that waits until it is let out."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._answer = answer

    async def __call__(self, _context: Context) -> Mapping[str, JSON]:
        self.reached.set()
        await self.open.wait()
        if self._answer is not None:
            raise self._answer
        return {"done": True}


class Stage:
    """A saga in a task of its own, with one journal of all that happens."""

    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock(self_winding=False)
        self.journal: Journal = []
        self.log = NotedLog(self.clock, self.journal)
        self._options = options

    async def begin(
        self, *, pivot: str | None = None, **answers: list[Answer]
    ) -> tuple[SagaInstance, asyncio.Task[None]]:
        definition = a_definition(three_steps(self.journal, **answers), policy=QUICK, pivot=pivot)
        orchestrator = SagaOrchestrator(
            definition, self.log, clock=self.clock, jitter=the_most, **self._options
        )
        run = SagaInstance(a_saga(), definition)
        await orchestrator.start(run)
        task = asyncio.create_task(orchestrator.run(run))
        await settle()
        return run, task


class TestTheLoop:
    async def test_an_action_under_way_is_awaited_and_then_compensated_in_order(self) -> None:
        """The cancellation is noted only at the boundary, and nothing new is begun."""
        stage, gate = Stage(), Gate()
        run, task = await stage.begin(inventory=[gate])
        run.cancel(an_action())
        await settle()
        assert stage.journal[-1] == "inventory.execute"
        gate.open.set()
        await task
        assert stage.journal[4:] == [
            "log step_succeeded",
            "log cancel_requested + step_failed",
            "inventory.compensate",
            "log step_compensated",
            "payment.compensate",
            "log step_compensated + saga_compensated",
        ]
        assert run.state.status is SagaStatus.COMPENSATED

    async def test_a_saga_in_back_off_is_woken(self) -> None:
        """It doesn't wait for what it won't do any more."""
        stage = Stage()
        run, task = await stage.begin(inventory=[StepUnavailable()])
        assert stage.clock.slept == [1.0]
        run.cancel(an_action())
        await task
        assert stage.clock.now() == NOON
        assert await stage.log.trail(run.saga.id) == [
            "saga_started",
            "step_succeeded payment",
            "step_retried inventory",
            "cancel_requested",
            "step_failed inventory",
            "step_compensated payment",
            "saga_compensated",
        ]

    async def test_a_back_off_on_the_way_back_is_kept(self) -> None:
        """The wish came too late to change anything."""
        stage = Stage()
        run, task = await stage.begin(inventory=[StepRejected()], undo_payment=[StepUnavailable()])
        run.cancel(an_action())
        await settle()
        assert not task.done()
        stage.clock.advance(1.0)
        await task
        assert run.state.cancelled_by is None
        assert run.state.status is SagaStatus.COMPENSATED

    async def test_a_doubtful_action_is_closed(self) -> None:
        """It may still arrive: so its compensation is sent, which makes it come to nothing."""
        stage, gate = Stage(), Gate(StepOutcomeUnknown())
        run, task = await stage.begin(payment=[gate])
        run.cancel(an_action())
        gate.open.set()
        await task
        assert stage.journal[-2:] == ["payment.compensate", "log step_compensated + saga_compensated"]
        assert "cancel_requested" in await stage.log.trail(run.saga.id)

    async def test_where_nothing_was_done_it_ends_at_once(self) -> None:
        stage = Stage()
        run, task = await stage.begin(payment=[StepUnavailable()])
        run.cancel(an_action())
        await task
        assert stage.journal[-1] == "log cancel_requested + step_failed + saga_compensated"

    async def test_a_cancellation_request_that_the_pivot_overtakes_is_too_late(self) -> None:
        """The action under way was the last that could be taken back; the saga completes."""
        stage, gate = Stage(), Gate()
        run, task = await stage.begin(pivot="shipping", shipping=[gate])
        run.cancel(an_action())
        gate.open.set()
        await task
        assert run.state.status is SagaStatus.COMPLETED
        assert "cancel_requested" not in await stage.log.trail(run.saga.id)

    async def test_a_pivot_in_doubt_can_still_be_cancelled(self) -> None:
        """It hasn't succeeded as far as anybody knows, and its compensation closes it."""
        stage = Stage()
        run, task = await stage.begin(pivot="shipping", shipping=[StepOutcomeUnknown()])
        run.cancel(an_action())
        await task
        assert run.state.status is SagaStatus.COMPENSATED
        assert [line for line in stage.journal if line.endswith("compensate")] == [
            "shipping.compensate",
            "inventory.compensate",
            "payment.compensate",
        ]

    async def test_a_saga_that_is_to_be_cancelled_is_not_parked(self) -> None:
        stage, gate = Stage(park_after=0.5), Gate(StepUnavailable())
        run, task = await stage.begin(inventory=[gate])
        run.cancel(an_action())
        gate.open.set()
        await task
        assert not run.parked
        assert run.state.status is SagaStatus.COMPENSATED

    @pytest.mark.parametrize("pivot", [None, "inventory"])
    async def test_a_parked_saga_says_whether_a_cancellation_request_may_wake_it(
        self, pivot: str | None
    ) -> None:
        """Past the pivot it would be woken again and again for nothing."""
        stage = Stage(park_after=0.5)
        run, task = await stage.begin(pivot=pivot, shipping=[StepUnavailable()])
        await task
        assert run.parked
        change = stage.log.changes[-1]
        assert change is not None
        assert change.cancellable is (pivot is None)

    async def test_the_replica_that_takes_it_over_cancels_it(self) -> None:
        """The wish is read with the saga; what was under way when its owner died may have happened."""
        stage = Stage()
        run, task = await stage.begin(inventory=[Gate()])
        request = an_action()
        assert await stage.log.request_cancel(run.saga.id, request) == request
        task.cancel()
        await settle()
        (stored,) = await stage.log.claim(
            owner="other", definitions=[("checkout", run.saga.version)], limit=1
        )
        again = SagaInstance.of(stored, run.definition)
        assert again.cancel_request == request
        await SagaOrchestrator(run.definition, stage.log, clock=stage.clock).run(again)
        assert await stage.log.trail(run.saga.id) == [
            "saga_started",
            "step_succeeded payment",
            "saga_recovered",
            "cancel_requested",
            "step_unknown inventory",
            "step_compensated inventory",
            "step_compensated payment",
            "saga_compensated",
        ]
