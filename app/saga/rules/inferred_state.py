"""A saga's state, inferred from its log alone, when no definition fits it any more.

A definition may be removed, or its steps renamed, once its sagas have ended. The log still has all that was done.
It can't tell which steps never started, nor what is to be done next.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.state import SagaState, StepState
from app.saga.model.step import StepKind
from app.saga.rules.fold import apply

UNFOLDABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What else folding a log raises that another release wrote, with words in its data that this one doesn't know."""

_ABANDONED = frozenset({EventType.STEP_FAILED, EventType.STEP_UNKNOWN})


def infer_state(events: Sequence[SagaEvent]) -> SagaState:
    """Return the state of the steps that a log names. Raise what `fold` raises, or one of `UNFOLDABLE`."""
    kinds = _kinds(events)
    state = SagaState(steps=tuple(StepState(name=name, kind=kind) for name, kind in kinds.items()))
    for event in events:
        state = apply(state, event)
    return state


def _kinds(events: Sequence[SagaEvent]) -> dict[str, StepKind]:
    """Return each step that the log names, in their order, with its kind as far as that shows.

    A step that was abandoned without any compensation came after the pivot: the last step that had succeeded.
    """
    kinds: dict[str, StepKind] = {}
    succeeded: str | None = None
    for event, following in zip(events, [*events[1:], None], strict=True):
        if event.step is None:
            continue
        kinds.setdefault(event.step, StepKind.COMPENSATABLE)
        if event.type is EventType.STEP_SUCCEEDED:
            succeeded = event.step
        elif (
            event.type in _ABANDONED
            and succeeded is not None
            and following is not None
            and following.type is EventType.SAGA_NEEDS_ATTENTION
        ):
            kinds[event.step] = StepKind.RETRIABLE
            if kinds[succeeded] is StepKind.COMPENSATABLE:
                kinds[succeeded] = StepKind.PIVOT
    return kinds
