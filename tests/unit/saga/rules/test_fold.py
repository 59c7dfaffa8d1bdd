"""A saga's state is the fold of its log, and only a log that this code writes folds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.saga import EventType, FailureKind, SagaEvent, SagaState, SagaStatus, StepStatus, fold
from app.saga.model.errors import IllegalEvent
from app.saga.model.status import EDGES, FINAL, INACTIVE
from app.saga.rules.fold import apply
from tests.builders import (
    NOON,
    a_definition,
    a_state,
    a_trail,
    an_error,
    an_event,
    compensated,
    compensation_failed,
    compensation_retried,
    failed,
    finished,
    retried,
    started,
    succeeded,
    three_steps,
    unknown,
    was_recovered,
)

COMPLETED = (
    succeeded("payment"),
    succeeded("inventory"),
    succeeded("shipping"),
    finished(EventType.SAGA_COMPLETED),
)
COMPENSATED = (
    succeeded("payment"),
    failed("inventory"),
    compensated("payment"),
    finished(EventType.SAGA_COMPENSATED),
)
ATTENDED = (
    succeeded("payment"),
    failed("inventory"),
    compensation_failed("payment"),
    finished(EventType.SAGA_NEEDS_ATTENTION),
)
AT_EACH_REST = {
    SagaStatus.COMPLETED: COMPLETED,
    SagaStatus.COMPENSATED: COMPENSATED,
    SagaStatus.NEEDS_ATTENTION: ATTENDED,
}

EVERY_EVENT: tuple[SagaEvent, ...] = (
    started(),
    succeeded("payment"),
    retried("payment"),
    failed("payment"),
    unknown("payment"),
    compensated("payment"),
    compensation_retried("payment"),
    compensation_failed("payment"),
    was_recovered(),
    finished(EventType.SAGA_COMPLETED),
    finished(EventType.SAGA_COMPENSATED),
    finished(EventType.SAGA_NEEDS_ATTENTION),
)

LEGAL_EDGES = {
    ("running", "compensating"),
    ("running", "completed"),
    ("running", "needs_attention"),
    ("compensating", "compensated"),
    ("compensating", "needs_attention"),
    ("needs_attention", "running"),
    ("needs_attention", "compensating"),
}


def followed_by(state: SagaState, event: SagaEvent) -> SagaState:
    """Return the state after an event that comes next in `seq`."""
    return apply(
        state, an_event(event.type, event.step, seq=state.seq + 1, attempt=event.attempt, data=event.data)
    )


def statuses(state: SagaState) -> list[StepStatus]:
    return [step.status for step in state.steps]


def test_the_edges_are_the_seven_that_the_drawing_shows() -> None:
    """From running back, to the end or to an operator; from compensating compensated or to an operator; from there on again."""
    edges = {(a.value, b.value) for a, ends in EDGES.items() for b in ends}
    assert edges == LEGAL_EDGES
    assert set(EDGES) == set(SagaStatus)
    assert {status for status, ends in EDGES.items() if not ends} == FINAL
    assert {SagaStatus.NEEDS_ATTENTION} == INACTIVE - FINAL


def test_a_started_saga_has_its_first_step_running() -> None:
    """`saga_started` is also the intent of the first step: it may have begun."""
    state = a_state()
    assert state.status is SagaStatus.RUNNING
    assert statuses(state) == [StepStatus.RUNNING, StepStatus.PENDING, StepStatus.PENDING]
    assert state.started_at == state.steps[0].started_at == NOON


def test_the_success_of_a_step_begins_the_next() -> None:
    """One durable point is both the result of a step and the intent of the one after it."""
    state = a_state(succeeded("payment", payment_id="p-1"))
    assert statuses(state) == [StepStatus.SUCCEEDED, StepStatus.RUNNING, StepStatus.PENDING]
    assert state.step("payment").result == {"payment_id": "p-1"}
    assert state.completion_order == ("payment",)


def test_a_completed_saga_has_every_step_succeeded_and_a_time() -> None:
    """running → completed."""
    state = a_state(*COMPLETED)
    assert state.status is SagaStatus.COMPLETED
    assert set(statuses(state)) == {StepStatus.SUCCEEDED}
    assert (state.finished_at, state.failure, state.completion_order) == (
        NOON,
        None,
        ("payment", "inventory", "shipping"),
    )


def test_a_failed_step_turns_the_saga_back_to_the_last_effect() -> None:
    """running → compensating; the failed step itself had no effect and is not compensated."""
    state = a_state(succeeded("payment"), succeeded("inventory"), failed("shipping"))
    assert state.status is SagaStatus.COMPENSATING
    assert statuses(state) == [StepStatus.SUCCEEDED, StepStatus.COMPENSATING, StepStatus.FAILED]
    assert state.completion_order == ("payment", "inventory")
    assert state.next_compensation == state.step("inventory")


def test_an_unknown_step_is_compensated_first() -> None:
    """A step that may have had an effect is compensated too, before those that came before it."""
    state = a_state(succeeded("payment"), unknown("inventory"))
    assert state.completion_order == ("payment", "inventory")
    assert state.step("inventory").status is StepStatus.COMPENSATING
    assert state.step("inventory").outcome_unknown


def test_effects_are_compensated_one_after_the_other_in_reverse() -> None:
    """Compensation runs in the reverse of the order in which the effects became known."""
    state = a_state(
        succeeded("payment"), succeeded("inventory"), failed("shipping"), compensated("inventory")
    )
    assert statuses(state) == [StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.FAILED]
    assert state.next_compensation == state.step("payment")


def test_a_compensated_saga_has_every_effect_compensated_and_an_end() -> None:
    """compensating → compensated."""
    state = a_state(*COMPENSATED)
    assert (state.status, state.finished_at, state.next_compensation) == (SagaStatus.COMPENSATED, NOON, None)


def test_a_saga_whose_first_step_fails_is_compensated_without_any_compensation() -> None:
    """Nothing was done, so nothing is compensated; it still ends as compensated."""
    state = a_state(failed("payment"), finished(EventType.SAGA_COMPENSATED))
    assert (state.status, state.completion_order) == (SagaStatus.COMPENSATED, ())


def test_a_saga_that_needs_attention_is_not_finished() -> None:
    """compensating → needs_attention: an operator must act, so there is no time of finishing."""
    state = a_state(*ATTENDED)
    assert (state.status, state.finished_at) == (SagaStatus.NEEDS_ATTENTION, None)
    assert state.step("payment").status is StepStatus.COMPENSATION_FAILED


def test_a_failed_compensation_gives_way_to_the_next() -> None:
    """One compensation that fails never holds back another."""
    state = a_state(
        succeeded("payment"), succeeded("inventory"), failed("shipping"), compensation_failed("inventory")
    )
    assert statuses(state) == [StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED, StepStatus.FAILED]


@pytest.mark.parametrize("given_up", [failed, unknown])
def test_a_step_abandoned_after_the_pivot_does_not_start_compensation(
    given_up: Callable[[str], SagaEvent],
) -> None:
    """After the pivot there is only forward: running → needs_attention, and no effect is compensated."""
    definition = a_definition(pivot="inventory")
    state = a_state(succeeded("payment"), succeeded("inventory"), given_up("shipping"), definition=definition)
    assert (state.status, state.past_pivot) == (SagaStatus.RUNNING, True)
    state = followed_by(state, finished(EventType.SAGA_NEEDS_ATTENTION))
    assert state.status is SagaStatus.NEEDS_ATTENTION
    assert StepStatus.COMPENSATING not in statuses(state)


@pytest.mark.parametrize("given_up", [failed, unknown])
def test_an_abandoned_pivot_starts_compensation(given_up: Callable[[str], SagaEvent]) -> None:
    """Only its success makes a pivot the point of no return."""
    state = a_state(succeeded("payment"), given_up("inventory"), definition=a_definition(pivot="inventory"))
    assert (state.status, state.past_pivot) == (SagaStatus.COMPENSATING, False)


@pytest.mark.parametrize("status", AT_EACH_REST)
@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: event.type)
def test_nothing_follows_once_a_saga_is_inactive(status: SagaStatus, event: SagaEvent) -> None:
    """Terminal is immutable: no event of any type changes a saga at rest."""
    state = a_state(*AT_EACH_REST[status])
    assert state.status is status
    with pytest.raises(IllegalEvent):
        followed_by(state, event)


@pytest.mark.parametrize("event", EVERY_EVENT[1:], ids=lambda event: event.type)
def test_a_trail_begins_with_saga_started(event: SagaEvent) -> None:
    """A log whose first line is anything else is not one that this code wrote."""
    with pytest.raises(IllegalEvent):
        fold(a_definition(), a_trail(event))


@pytest.mark.parametrize(
    ("trail", "event"),
    [
        pytest.param((), started(), id="a second start"),
        pytest.param((), succeeded("inventory"), id="a success out of turn"),
        pytest.param((), retried("shipping"), id="a retry out of turn"),
        pytest.param((), failed("inventory"), id="a failure out of turn"),
        pytest.param((), unknown("inventory"), id="an unknown out of turn"),
        pytest.param((succeeded("payment"),), succeeded("payment"), id="a success twice"),
        pytest.param((), succeeded("refund"), id="a step that the saga has not"),
        pytest.param((), an_event(EventType.STEP_SUCCEEDED), id="a success without a step"),
        pytest.param(
            (succeeded("payment"),), compensated("payment"), id="a compensation while going forward"
        ),
        pytest.param(
            (succeeded("payment"),), compensation_failed("payment"), id="a failed one while going forward"
        ),
        pytest.param(
            (succeeded("payment"), failed("inventory")), succeeded("inventory"), id="a success going back"
        ),
        pytest.param(
            (succeeded("payment"), failed("inventory")), retried("inventory"), id="a retry going back"
        ),
        pytest.param((succeeded("payment"), failed("inventory")), failed("inventory"), id="a failure twice"),
        pytest.param(
            (succeeded("payment"), failed("inventory")), compensated("inventory"), id="undoing no effect"
        ),
        pytest.param(
            (succeeded("payment"), succeeded("inventory"), failed("shipping")),
            compensated("payment"),
            id="undoing out of turn",
        ),
        pytest.param(
            (succeeded("payment"), succeeded("inventory"), failed("shipping"), compensated("inventory")),
            compensation_retried("inventory"),
            id="undoing what is undone",
        ),
        pytest.param((succeeded("payment"),), finished(EventType.SAGA_COMPLETED), id="completed too early"),
        pytest.param((), finished(EventType.SAGA_COMPENSATED), id="compensated while going forward"),
        pytest.param(
            (succeeded("payment"), failed("inventory")),
            finished(EventType.SAGA_COMPENSATED),
            id="compensated too early",
        ),
        pytest.param(
            (succeeded("payment"), failed("inventory"), compensation_failed("payment")),
            finished(EventType.SAGA_COMPENSATED),
            id="compensated with an effect left",
        ),
        pytest.param(
            (succeeded("payment"), failed("inventory")),
            finished(EventType.SAGA_COMPLETED),
            id="completed going back",
        ),
    ],
)
def test_an_event_that_can_not_follow_is_refused(trail: tuple[SagaEvent, ...], event: SagaEvent) -> None:
    """The fold accepts only what the rules let happen."""
    state = a_state(*trail)
    with pytest.raises(IllegalEvent):
        followed_by(state, event)


@pytest.mark.parametrize("seq", [0, 1, 3])
def test_a_gap_or_a_repeat_in_seq_is_refused(seq: int) -> None:
    """The trail is gap-free."""
    with pytest.raises(IllegalEvent):
        apply(a_state(), an_event(EventType.STEP_SUCCEEDED, "payment", seq=seq))


def test_a_retried_step_keeps_its_attempts_and_the_time_of_the_next() -> None:
    """While it waits, the state says until when."""
    later = NOON + timedelta(seconds=3)
    state = a_state(retried("payment", 2, at=later))
    assert (state.step("payment").attempts, state.next_action_at) == (2, later)
    assert state.step("payment").error == an_error()


@pytest.mark.parametrize(("outcome", "maybe"), [("unavailable", False), ("unknown", True)])
def test_only_an_unknown_attempt_leaves_doubt(outcome: str, maybe: bool) -> None:
    """An unavailable service certainly did nothing."""
    assert a_state(retried("payment", outcome=outcome)).step("payment").outcome_unknown is maybe


def test_doubt_stays_after_a_definite_no() -> None:
    """An earlier attempt may still be on its way, whatever a later one is told."""
    state = a_state(retried("payment", outcome="unknown"), retried("payment", 2, outcome="unavailable"))
    assert state.step("payment").outcome_unknown


def test_a_success_clears_the_error_and_the_pause() -> None:
    """Once it is done, nothing about it waits or is wrong."""
    step = a_state(retried("payment"), succeeded("payment", 2)).step("payment")
    assert (step.status, step.attempts, step.error, step.retry_at) == (StepStatus.SUCCEEDED, 2, None, None)


def test_a_retried_compensation_keeps_its_own_count_and_pause() -> None:
    """The compensation's budget is its own."""
    later = NOON + timedelta(seconds=3)
    state = a_state(
        succeeded("payment", 4), failed("inventory"), compensation_retried("payment", 2, at=later)
    )
    step = state.step("payment")
    assert step.compensation is not None
    assert (step.attempts, step.compensation.attempts, state.next_action_at) == (4, 2, later)
    step = followed_by(state, compensated("payment", 3)).step("payment")
    assert step.compensation is not None
    assert (step.compensation.attempts, step.compensation.error, step.compensation.retry_at) == (
        3,
        None,
        None,
    )
    assert step.compensation.finished_at == NOON


def test_a_takeover_leaves_doubt_about_the_step_on_its_way() -> None:
    """What was under way when the owner died may have arrived."""
    state = a_state(succeeded("payment"), was_recovered())
    assert [step.outcome_unknown for step in state.steps] == [False, True, False]


def test_a_takeover_while_going_back_casts_no_doubt_on_a_failed_step() -> None:
    """A definite no before the owner died stays definite."""
    state = a_state(succeeded("payment"), failed("inventory"), was_recovered())
    assert not state.step("inventory").outcome_unknown
    assert state.completion_order == ("payment",)


def test_takeovers_are_counted_until_there_is_progress() -> None:
    """Whatever becomes durable in between is progress."""
    state = a_state(was_recovered(), was_recovered(), was_recovered())
    assert state.recoveries == 3
    assert followed_by(state, retried("payment")).recoveries == 0


def test_the_failure_is_why_the_saga_went_back() -> None:
    """The step that was abandoned, with its last error; what fails later does not replace it."""
    state = a_state(succeeded("payment"), failed("inventory"), compensation_failed("payment"))
    assert state.failure is not None
    assert (state.failure.step, state.failure.code, state.failure.kind) == (
        "inventory",
        "rejected",
        FailureKind.REFUSED,
    )


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [
        (FailureKind.REFUSED, False),
        (FailureKind.UNUSABLE, True),
        (FailureKind.UNAVAILABLE, True),
        (FailureKind.TIMEOUT, True),
        (FailureKind.DEADLINE, True),
        (FailureKind.CANCELLED, False),
        (FailureKind.POISONED, False),
    ],
)
def test_only_what_may_pass_is_worth_trying_anew(kind: FailureKind, retryable: bool) -> None:
    """A no stays a no; a service that was down may be up."""
    event = an_event(EventType.STEP_FAILED, "payment", attempt=1, data={"error": an_error(kind=kind)})
    failure = a_state(event).failure
    assert failure is not None
    assert failure.retryable is retryable


def test_folding_asks_nothing_but_the_trail() -> None:
    """The same trail tells the same state, whole or event by event."""
    definition = a_definition(three_steps())
    trail = a_trail(started(), *COMPENSATED)
    state = definition.initial_state
    for event in trail:
        state = apply(state, event)
    assert state == fold(definition, trail)
