"""What a log tells by itself is what its definition made of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from app.saga import SagaEvent
from app.saga.model.errors import IllegalEvent
from app.saga.model.events import EventType
from app.saga.model.status import SagaStatus, StepStatus
from app.saga.model.step import StepKind
from app.saga.rules.inferred_state import infer_state
from tests.builders import NOON

E = EventType


def a_log(*lines: tuple[EventType, str | None]) -> Sequence[SagaEvent]:
    error = {"error": {"code": "x", "message": "No.", "kind": "refused"}}
    return [
        SagaEvent(
            seq=seq,
            at=NOON + timedelta(seconds=seq),
            type=kind,
            step=step,
            attempt=1 if step else None,
            data=error if kind in {E.STEP_FAILED, E.STEP_UNKNOWN, E.COMPENSATION_FAILED} else {},
        )
        for seq, (kind, step) in enumerate([(E.SAGA_STARTED, None), *lines], 1)
    ]


def test_steps_are_those_that_the_log_names_in_their_order() -> None:
    state = infer_state(a_log((E.STEP_SUCCEEDED, "a"), (E.STEP_SUCCEEDED, "b"), (E.SAGA_COMPLETED, None)))
    assert (state.status, [step.name for step in state.steps]) == (SagaStatus.COMPLETED, ["a", "b"])


def test_what_was_compensated_is_inferred_as_compensated() -> None:
    log = a_log(
        (E.STEP_SUCCEEDED, "a"), (E.STEP_FAILED, "b"), (E.STEP_COMPENSATED, "a"), (E.SAGA_COMPENSATED, None)
    )
    state = infer_state(log)
    assert [step.status for step in state.steps] == [StepStatus.COMPENSATED, StepStatus.FAILED]
    assert state.failure is not None
    assert state.failure.step == "b"


def test_a_step_that_failed_after_the_pivot_is_not_inferred_as_compensated() -> None:
    """Nothing was compensated for it, so there was no way back: the step before it was the pivot."""
    state = infer_state(
        a_log(
            (E.STEP_SUCCEEDED, "a"),
            (E.STEP_SUCCEEDED, "b"),
            (E.STEP_UNKNOWN, "c"),
            (E.SAGA_NEEDS_ATTENTION, None),
        )
    )
    assert state.status is SagaStatus.NEEDS_ATTENTION
    assert [step.kind for step in state.steps] == [StepKind.COMPENSATABLE, StepKind.PIVOT, StepKind.RETRIABLE]
    assert [step.status for step in state.steps][:2] == [StepStatus.SUCCEEDED] * 2


def test_what_is_no_log_is_refused() -> None:
    with pytest.raises(IllegalEvent):
        infer_state(a_log((E.SAGA_COMPENSATED, None), (E.STEP_SUCCEEDED, "a")))
