"""What blocks a saga that needs attention, beside what turned it back."""

from __future__ import annotations

import pytest

from app.saga.model.attention import Attention, StepAction, attention_of
from app.saga.model.events import EventType, SagaEvent
from app.saga.rules.fold import fold
from tests.builders import (
    a_definition,
    a_trail,
    an_error,
    an_event,
    by_person,
    compensated,
    compensation_failed,
    failed,
    finished,
    started,
    succeeded,
    unknown,
)

ATTEND = finished(EventType.SAGA_NEEDS_ATTENTION)
BACK = (succeeded("payment"), succeeded("inventory"), failed("shipping"))


def refused(step: str, code: str, message: str) -> SagaEvent:
    return an_event(EventType.COMPENSATION_FAILED, step, attempt=1, data={"error": an_error(code, message)})


def of(*events: SagaEvent, pivot: str = "shipping") -> Attention | None:
    trail = a_trail(started(), *events)
    return attention_of(fold(a_definition(pivot=pivot), trail), trail[-1])


def test_a_refund_that_is_refused_is_what_blocks_and_not_what_turned_the_saga_back() -> None:
    attention = of(*BACK, compensated("inventory"), refused("payment", "not_reversible", "Too late"), ATTEND)
    assert attention == Attention(
        step="payment",
        action=StepAction.COMPENSATE,
        code="not_reversible",
        message="The payment step took effect and can't be compensated: Too late.",
        since=ATTEND.at,
    )


def test_the_sentence_names_every_step_that_is_stuck_and_the_members_the_first() -> None:
    attention = of(
        *BACK, refused("inventory", "gone", "Sold."), refused("payment", "too_late", "Closed."), ATTEND
    )
    assert attention is not None
    assert (attention.step, attention.code) == ("payment", "too_late")
    assert "payment step took effect and can't be compensated: Closed." in attention.message
    assert "inventory step took effect and can't be compensated: Sold." in attention.message


def test_an_outcome_that_nobody_knows_is_not_called_an_effect() -> None:
    attention = of(unknown("payment"), refused("payment", "too_late", "Closed."), ATTEND)
    assert attention is not None
    assert attention.message == "The payment step may have taken effect and can't be compensated: Closed."


def test_a_step_after_the_pivot_that_failed_blocks_by_what_it_said() -> None:
    attention = of(
        succeeded("payment"), succeeded("inventory"), failed("shipping"), ATTEND, pivot="inventory"
    )
    assert attention is not None
    assert (attention.step, attention.action, attention.code) == ("shipping", StepAction.EXECUTE, "rejected")
    assert attention.message == (
        "The shipping step failed after the pivot, when nothing can be compensated any more: No."
    )


def test_a_poisonous_step_is_named_although_its_event_names_none() -> None:
    poisoned = an_event(
        EventType.SAGA_NEEDS_ATTENTION, data={"error": an_error("poisoned", "It died 5 times", "poisoned")}
    )
    attention = of(succeeded("payment"), poisoned)
    assert attention is not None
    assert (attention.step, attention.action, attention.code, attention.message) == (
        "inventory",
        StepAction.EXECUTE,
        "poisoned",
        "It died 5 times.",
    )


@pytest.mark.parametrize(
    "events",
    [
        (),
        BACK,
        (*BACK, compensated("inventory"), compensated("payment"), finished(EventType.SAGA_COMPENSATED)),
        (
            *BACK,
            compensation_failed("inventory"),
            compensated("payment"),
            ATTEND,
            by_person(EventType.RETRY_REQUESTED),
        ),
    ],
)
def test_nothing_blocks_a_saga_that_continues_or_has_ended(events: tuple[SagaEvent, ...]) -> None:
    assert of(*events) is None
