"""What is due, and what an answer means: pure functions, every branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.saga import EventType, SagaDefinition, SagaEvent, SagaState, StepError
from app.saga.model.errors import FailureKind, StepOutcomeUnknown, StepRejected, StepUnavailable
from app.saga.model.retry import RetryPolicy
from app.saga.model.step import JSON, Closed
from app.saga.rules.answers import after_compensate, after_execute, after_look_up
from app.saga.rules.decide import POISON_AFTER, decide
from app.saga.rules.decisions import Compensate, Decision, Execute, Inactive, LookUp, Record, Wait
from tests.builders import (
    NOON,
    QUICK,
    a_definition,
    a_state,
    compensated,
    compensation_failed,
    compensation_retried,
    failed,
    finished,
    retried,
    succeeded,
    the_most,
    unknown,
    was_recovered,
)

DEFINITION = a_definition()
PIVOTED = a_definition(pivot="inventory")


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def text(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def due(*events: SagaEvent, at: float = 0.0, definition: SagaDefinition = DEFINITION) -> Decision:
    """Return what is due so many seconds after the start of a saga with this trail."""
    return decide(definition, a_state(*events, definition=definition), after(at))


def recorded(decision: Decision) -> SagaEvent:
    assert isinstance(decision, Record)
    return decision.event


def sent(decision: Decision) -> tuple[str, str, int]:
    assert isinstance(decision, Execute | Compensate)
    return type(decision).__name__, decision.step.name, decision.attempt


def executing(state: SagaState, definition: SagaDefinition = DEFINITION) -> Execute:
    decision = decide(definition, state, NOON)
    assert isinstance(decision, Execute)
    return decision


def answered(
    answer: StepError, *events: SagaEvent, attempt: int = 1, definition: SagaDefinition = DEFINITION
) -> SagaEvent:
    """Return the event that an answer to the current step's action makes."""
    state = a_state(*events, definition=definition)
    action = replace(executing(state, definition), attempt=attempt)
    return after_execute(action, state, answer, now=after(7), duration_ms=1.5, jitter=the_most)


def undone(answer: StepError, *, attempt: int = 1) -> SagaEvent:
    """Return the event that an answer to the payment's compensation makes."""
    state = a_state(succeeded("payment"), failed("inventory"))
    action = decide(DEFINITION, state, NOON)
    assert isinstance(action, Compensate)
    return after_compensate(
        replace(action, attempt=attempt), state, answer, now=after(7), duration_ms=1.5, jitter=the_most
    )


class TestGoingForward:
    """While a saga is running."""

    def test_the_current_step_is_sent(self) -> None:
        """The first step that has not succeeded has its turn."""
        assert sent(due()) == ("Execute", "payment", 1)
        assert sent(due(succeeded("payment"))) == ("Execute", "inventory", 1)

    def test_an_attempt_counts_on_from_the_last(self) -> None:
        """Attempts are counted over restarts, as the log holds them."""
        assert sent(due(retried("payment", 1))) == ("Execute", "payment", 2)

    def test_a_pause_is_waited_out(self) -> None:
        """Nothing is sent before the time that the log names, and at that time it is."""
        trail = retried("payment", at=after(5))
        assert due(trail, at=4.999999) == Wait(until=after(5))
        assert sent(due(trail, at=5)) == ("Execute", "payment", 2)

    def test_every_step_done_completes_the_saga(self) -> None:
        """Nothing more is asked of anybody."""
        event = recorded(due(*(succeeded(name) for name in ("payment", "inventory", "shipping"))))
        assert (event.type, event.seq) == (EventType.SAGA_COMPLETED, 5)

    @pytest.mark.parametrize("at", [300, 301])
    def test_past_the_deadline_the_current_step_is_abandoned(self, at: float) -> None:
        """Where every attempt was certainly without effect, the step failed."""
        event = recorded(due(succeeded("payment"), retried("inventory", 2), at=at))
        assert (event.type, event.step, event.attempt) == (EventType.STEP_FAILED, "inventory", 2)
        assert event.data["error"]["code"] == "deadline_exceeded"
        assert event.data["error"]["kind"] == FailureKind.DEADLINE

    def test_before_the_deadline_nothing_is_abandoned(self) -> None:
        """The last moment still belongs to the saga."""
        assert sent(due(succeeded("payment"), at=299.999999)) == ("Execute", "inventory", 1)

    @pytest.mark.parametrize("doubt", [retried("inventory", outcome="unknown"), was_recovered()])
    def test_past_the_deadline_a_step_in_doubt_is_unknown(self, doubt: SagaEvent) -> None:
        """It may have taken effect, so it is compensated too."""
        assert recorded(due(succeeded("payment"), doubt, at=300)).type is EventType.STEP_UNKNOWN

    def test_a_pause_ends_at_the_deadline(self) -> None:
        """A saga does not sleep past the moment at which it has to turn back."""
        assert due(retried("payment", at=after(900))) == Wait(until=after(300))

    def test_the_deadline_does_not_bind_past_the_pivot(self) -> None:
        """There is no way back, so the saga continues however late it is."""
        trail = (succeeded("payment"), succeeded("inventory"))
        assert sent(due(*trail, at=9999, definition=PIVOTED)) == ("Execute", "shipping", 1)
        waiting = (*trail, retried("shipping", at=after(900)))
        assert due(*waiting, at=400, definition=PIVOTED) == Wait(until=after(900))

    def test_a_saga_is_completed_even_past_the_deadline(self) -> None:
        """What is done is done: lateness alone undoes nothing."""
        trail = [succeeded(name) for name in ("payment", "inventory", "shipping")]
        assert recorded(due(*trail, at=9999)).type is EventType.SAGA_COMPLETED

    @pytest.mark.parametrize("given_up", [failed("shipping"), unknown("shipping")])
    def test_a_step_abandoned_past_the_pivot_needs_an_operator(self, given_up: SagaEvent) -> None:
        """Neither forward nor back is left."""
        decision = due(succeeded("payment"), succeeded("inventory"), given_up, definition=PIVOTED)
        assert recorded(decision).type is EventType.SAGA_NEEDS_ATTENTION


class TestGoingBack:
    """While a saga is compensating."""

    TRAIL = (succeeded("payment"), succeeded("inventory"), failed("shipping"))

    def test_the_last_effect_is_compensated_first(self) -> None:
        """In the reverse of the persisted order."""
        assert sent(due(*self.TRAIL)) == ("Compensate", "inventory", 1)
        assert sent(due(*self.TRAIL, compensated("inventory"))) == ("Compensate", "payment", 1)

    def test_an_unknown_step_is_compensated_before_all_others(self) -> None:
        """It may be stored."""
        assert sent(due(succeeded("payment"), unknown("inventory"))) == ("Compensate", "inventory", 1)

    def test_a_pause_is_waited_out(self) -> None:
        """A compensation has its own back-off."""
        trail = (*self.TRAIL, compensation_retried("inventory", 1, at=after(5)))
        assert due(*trail, at=4) == Wait(until=after(5))
        assert sent(due(*trail, at=5)) == ("Compensate", "inventory", 2)

    def test_the_deadline_does_not_bind(self) -> None:
        """Compensating takes as long as it takes."""
        assert sent(due(*self.TRAIL, at=9999)) == ("Compensate", "inventory", 1)

    def test_a_failed_compensation_gives_way_to_the_next(self) -> None:
        """One that fails never holds back another."""
        assert sent(due(*self.TRAIL, compensation_failed("inventory"))) == ("Compensate", "payment", 1)

    def test_a_saga_with_every_effect_compensated_ends(self) -> None:
        """compensating → compensated."""
        decision = due(*self.TRAIL, compensated("inventory"), compensated("payment"))
        assert recorded(decision).type is EventType.SAGA_COMPENSATED

    def test_nothing_to_undo_ends_it_at_once(self) -> None:
        """A first step that failed leaves nothing behind."""
        assert recorded(due(failed("payment"))).type is EventType.SAGA_COMPENSATED

    def test_a_failed_compensation_needs_an_operator(self) -> None:
        """After all the others ran."""
        decision = due(*self.TRAIL, compensation_failed("inventory"), compensated("payment"))
        assert recorded(decision).type is EventType.SAGA_NEEDS_ATTENTION


class TestPoison:
    """A saga that takes its process down again and again."""

    def test_after_five_takeovers_without_progress_it_is_parked_for_an_operator(self) -> None:
        """It is not sent a sixth time, and says why."""
        event = recorded(due(*[was_recovered()] * POISON_AFTER))
        assert event.type is EventType.SAGA_NEEDS_ATTENTION
        assert event.data["error"]["kind"] == FailureKind.POISONED
        assert POISON_AFTER == 5

    def test_four_takeovers_are_no_poison(self) -> None:
        """Processes die for other reasons too."""
        assert sent(due(*[was_recovered()] * 4)) == ("Execute", "payment", 1)

    def test_progress_forgives(self) -> None:
        """Five takeovers count only in a row."""
        trail = [was_recovered()] * 4 + [succeeded("payment")] + [was_recovered()] * 4
        assert sent(due(*trail)) == ("Execute", "inventory", 1)

    def test_a_poisonous_compensation_holds_back_no_other(self) -> None:
        """It alone is abandoned; whatever else was done is compensated, and then an operator is asked."""
        trail = [succeeded("payment"), succeeded("inventory"), failed("shipping")]
        trail += [was_recovered()] * POISON_AFTER
        event = recorded(due(*trail))
        assert (event.type, event.step) == (EventType.COMPENSATION_FAILED, "inventory")
        assert event.data["error"]["kind"] == FailureKind.POISONED
        given_up = [*trail, compensation_failed("inventory")]
        assert sent(due(*given_up)) == ("Compensate", "payment", 1)
        last = recorded(due(*given_up, compensated("payment")))
        assert last.type is EventType.SAGA_NEEDS_ATTENTION


WINDOW = DEFINITION.key_window


def looked_up(
    answer: Mapping[str, JSON] | Closed | StepError | None,
    *trail: SagaEvent,
    attempt: int = 1,
    definition: SagaDefinition = DEFINITION,
) -> SagaEvent:
    """Return the event that a look-up's answer makes, when a key's window is over."""
    state = a_state(*trail, definition=definition)
    action = decide(definition, state, after(WINDOW))
    assert isinstance(action, LookUp)
    action = replace(action, attempt=attempt)
    return after_look_up(action, state, answer, now=after(WINDOW), duration_ms=1.5, jitter=the_most)


class TestKeyWindow:
    """Past it a service may have forgotten the key, and would do the work twice."""

    PATIENT = replace(DEFINITION, deadline=10 * WINDOW)
    BACK = (succeeded("payment"), failed("inventory"))

    def test_until_then_the_same_thing_is_sent_again(self) -> None:
        """In either direction."""
        assert isinstance(due(retried("payment"), at=WINDOW - 1, definition=self.PATIENT), Execute)
        assert isinstance(due(*self.BACK, at=WINDOW - 1), Compensate)

    def test_from_then_on_it_is_looked_up(self) -> None:
        """The attempts go on being counted."""
        forward = due(retried("payment"), at=WINDOW, definition=self.PATIENT)
        assert (type(forward), getattr(forward, "attempt", 0)) == (LookUp, 2)
        assert isinstance(due(*self.BACK, at=WINDOW), LookUp)

    def test_work_that_is_found_is_a_success(self) -> None:
        """As if the answer had come only now."""
        event = looked_up({"payment_id": "p"}, retried("payment"), definition=self.PATIENT)
        assert (event.type, event.data["result"]) == (EventType.STEP_SUCCEEDED, {"payment_id": "p"})
        assert event.data["looked_up"]

    @pytest.mark.parametrize("answer", [None, Closed()])
    def test_an_action_of_which_nothing_is_found_is_abandoned_as_unknown(self, answer: Closed | None) -> None:
        """It may be on its way even now: its compensation, under a key of its own, closes it."""
        event = looked_up(answer, retried("payment"), definition=self.PATIENT)
        assert (event.type, event.data["error"]["code"]) == (EventType.STEP_UNKNOWN, "key_expired")

    def test_a_closed_reference_counts_as_compensated(self) -> None:
        """The service itself says so."""
        event = looked_up(Closed(), *self.BACK)
        assert (event.type, event.step) == (EventType.STEP_COMPENSATED, "payment")

    @pytest.mark.parametrize("answer", [None, {"payment_id": "p"}])
    def test_a_compensation_that_can_not_be_shown_is_left_to_an_operator(
        self, answer: dict[str, str] | None
    ) -> None:
        """To send it again might pay the money back twice."""
        event = looked_up(answer, *self.BACK)
        assert (event.type, event.data["error"]["code"]) == (EventType.COMPENSATION_FAILED, "key_expired")

    @pytest.mark.parametrize("trail", [(retried("payment"),), BACK])
    def test_a_look_up_without_an_answer_is_tried_again_within_the_budget(
        self, trail: tuple[SagaEvent, ...]
    ) -> None:
        """Asking does no harm."""
        forward = len(trail) == 1
        again = EventType.STEP_RETRIED if forward else EventType.COMPENSATION_RETRIED
        end = EventType.STEP_UNKNOWN if forward else EventType.COMPENSATION_FAILED
        down = StepUnavailable("down")
        assert looked_up(down, *trail, definition=self.PATIENT).type is again
        last = self.PATIENT.steps[0]
        attempts = (last.policy if forward else last.compensation).attempts
        assert looked_up(down, *trail, attempt=attempts, definition=self.PATIENT).type is end
        refused = looked_up(StepRejected("no"), *trail, definition=self.PATIENT)
        assert refused.type is end, "a refusal to tell proves nothing about the action"

    def test_a_compensation_counts_from_its_own_first_send(self) -> None:
        """Its key is another one than the action's."""
        late = tuple(replace(event, at=after(WINDOW)) for event in self.BACK)
        assert isinstance(due(*late, at=WINDOW + 1), Compensate)
        assert isinstance(due(*late, at=2 * WINDOW), LookUp)


@pytest.mark.parametrize(
    "trail",
    [
        [
            succeeded("payment"),
            succeeded("inventory"),
            succeeded("shipping"),
            finished(EventType.SAGA_COMPLETED),
        ],
        [failed("payment"), finished(EventType.SAGA_COMPENSATED)],
        [finished(EventType.SAGA_NEEDS_ATTENTION)],
    ],
)
def test_an_inactive_saga_has_nothing_due(trail: list[SagaEvent]) -> None:
    """However much time passes."""
    assert due(*trail, at=9999) == Inactive()


class TestAnswersToAnAction:
    """What `after_execute` makes of them."""

    def test_success_keeps_the_result(self) -> None:
        """It also notes how long it took and which attempt it was."""
        state = a_state(retried("payment", 1))
        action = executing(state)
        event = after_execute(action, state, {"id": "p-1"}, now=NOON, duration_ms=12.5, jitter=the_most)
        assert (event.type, event.seq, event.attempt) == (EventType.STEP_SUCCEEDED, 3, 2)
        assert event.data == {"result": {"id": "p-1"}, "duration_ms": 12.5}

    def test_a_definite_no_is_final_at_once(self) -> None:
        """Asking again would not change it; it had no effect, so it is not compensated."""
        event = answered(StepRejected(code="card_declined"))
        assert (event.type, event.data["error"]["code"]) == (EventType.STEP_FAILED, "card_declined")

    @pytest.mark.parametrize("doubt", [retried("payment", outcome="unknown"), was_recovered()])
    def test_a_definite_no_after_doubt_is_unknown(self, doubt: SagaEvent) -> None:
        """The earlier attempt may still be on its way: its compensation closes it."""
        assert answered(StepRejected(), doubt, attempt=2).type is EventType.STEP_UNKNOWN

    def test_a_definite_no_after_an_unavailable_is_certain(self) -> None:
        """Nothing ever reached the service before."""
        assert answered(StepRejected(), retried("payment"), attempt=2).type is EventType.STEP_FAILED

    @pytest.mark.parametrize(
        ("answer", "outcome"), [(StepUnavailable(), "unavailable"), (StepOutcomeUnknown(), "unknown")]
    )
    def test_no_definite_answer_is_sent_again_after_a_pause(self, answer: StepError, outcome: str) -> None:
        """The event says what came and when it is tried again."""
        event = answered(answer)
        assert (event.type, event.attempt, event.data["outcome"]) == (EventType.STEP_RETRIED, 1, outcome)
        assert event.data["next_action_at"] == "2026-01-01T12:00:08.000000Z"

    @pytest.mark.parametrize(("asked", "until"), [(4, 11), (120, 127), (293, 300), (600, 300), (1e300, 300)])
    def test_the_pause_that_a_service_asks_for_is_kept_as_far_as_the_deadline(
        self, asked: float, until: float
    ) -> None:
        """`Retry-After` is the least pause, whatever the back-off's cap; at the deadline the step is abandoned."""
        event = answered(StepUnavailable(retry_after=asked))
        assert event.data["next_action_at"] == text(after(until))
        assert due(event, at=until - 0.001) == Wait(until=after(until))
        if until < 300:
            assert sent(due(event, at=until)) == ("Execute", "payment", 2)
        else:
            assert recorded(due(event, at=until)).type is EventType.STEP_FAILED

    def test_an_answer_that_came_after_the_deadline_is_waited_on_no_more(self) -> None:
        """What the service asks for doesn't put the way back off."""
        late = a_definition(deadline=5)
        event = answered(StepOutcomeUnknown(retry_after=60), definition=late)
        assert event.data["next_action_at"] == text(after(7))
        assert recorded(due(event, at=7, definition=late)).type is EventType.STEP_UNKNOWN

    @pytest.mark.parametrize(("asked", "pause"), [(600, 600), (86_400, 3600)])
    def test_past_the_pivot_a_service_may_ask_for_an_hour(self, asked: float, pause: float) -> None:
        """No deadline ends the wait there."""
        trail = [succeeded("payment"), succeeded("inventory")]
        event = answered(StepUnavailable(retry_after=asked), *trail, definition=PIVOTED)
        assert event.data["next_action_at"] == text(after(7 + pause))

    @pytest.mark.parametrize("asked", ["soon", None, -1, float("nan"), True])
    def test_what_a_step_names_is_ignored_where_it_is_no_time(self, asked: Any) -> None:
        """A step is somebody else's code, and a saga must not fail over what it says."""
        event = answered(StepUnavailable(retry_after=asked))
        assert event.data["next_action_at"] == text(after(8))

    def test_the_last_attempt_unavailable_failed_for_certain(self) -> None:
        """Only unavailable answers: nothing to undo."""
        event = answered(StepUnavailable(), retried("payment"), attempt=QUICK.attempts)
        assert event.type is EventType.STEP_FAILED

    def test_the_last_attempt_unavailable_after_an_unknown_is_unknown(self) -> None:
        """The doubt of any attempt is the step's."""
        trail = retried("payment", outcome="unknown")
        assert answered(StepUnavailable(), trail, attempt=QUICK.attempts).type is EventType.STEP_UNKNOWN

    def test_the_last_attempt_unknown_is_unknown(self) -> None:
        """It may be stored: to be compensated."""
        event = answered(StepOutcomeUnknown(), retried("payment"), attempt=QUICK.attempts)
        assert event.type is EventType.STEP_UNKNOWN

    def test_a_bare_step_error_counts_as_unknown(self) -> None:
        """Only the two definite ones promise that nothing happened."""
        assert answered(StepError()).data["outcome"] == "unknown"
        assert answered(StepError(), attempt=QUICK.attempts).type is EventType.STEP_UNKNOWN

    def test_one_attempt_means_one_send(self) -> None:
        """The first is counted too."""
        definition = a_definition(policy=RetryPolicy(attempts=1))
        assert answered(StepUnavailable(), definition=definition).type is EventType.STEP_FAILED


class TestAnswersToACompensation:
    """What `after_compensate` makes of them."""

    @pytest.mark.parametrize("answer", [StepUnavailable(), StepOutcomeUnknown(), StepError()])
    def test_anything_but_a_definite_answer_is_sent_again(self, answer: StepError) -> None:
        """A compensation is harmless to repeat."""
        event = undone(answer)
        assert (event.type, event.attempt) == (EventType.COMPENSATION_RETRIED, 1)
        assert event.data["next_action_at"] == "2026-01-01T12:00:08.000000Z"

    def test_a_definite_no_fails_it_at_once(self) -> None:
        """What can't be compensated is left to an operator."""
        assert undone(StepRejected(code="not_reversible")).type is EventType.COMPENSATION_FAILED

    @pytest.mark.parametrize("answer", [StepUnavailable(), StepOutcomeUnknown()])
    def test_the_last_attempt_fails_it(self, answer: StepError) -> None:
        """Its own budget is spent."""
        assert undone(answer, attempt=QUICK.attempts).type is EventType.COMPENSATION_FAILED

    def test_the_compensation_has_its_own_budget(self) -> None:
        """As patient as its policy, whatever the action's is."""
        definition = a_definition(policy=RetryPolicy(attempts=1), compensation=RetryPolicy(attempts=20))
        state = a_state(succeeded("payment"), failed("inventory"), definition=definition)
        action = decide(definition, state, NOON)
        assert isinstance(action, Compensate)
        event = after_compensate(
            replace(action, attempt=19), state, StepUnavailable(), now=NOON, duration_ms=0, jitter=the_most
        )
        assert event.type is EventType.COMPENSATION_RETRIED


def test_a_trail_never_goes_back_in_time() -> None:
    """Where this replica's clock is behind the one that wrote last, the last time is kept."""
    state = a_state(succeeded("payment"), succeeded("inventory"), succeeded("shipping"))
    decision = decide(DEFINITION, state, datetime(2020, 1, 1, tzinfo=UTC))
    assert recorded(decision).at == NOON


def test_deciding_changes_nothing() -> None:
    """The same question has the same answer."""
    state = a_state(succeeded("payment"), unknown("inventory"))
    assert decide(DEFINITION, state, NOON) == decide(DEFINITION, state, NOON)
