"""A saga's state told by its log alone, where no definition fits it any more.

A definition may be gone, or its steps be renamed, once its sagas have ended; the log still has all that was
done. What it can't tell is the steps whose turn never came, and what is to be done next.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.saga.model.events import EventType, SagaEvent
from app.saga.model.state import SagaState, StepState
from app.saga.model.step import StepKind
from app.saga.rules.fold import apply

UNFOLDABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What else a fold raises of a log that this release didn't write: a word in its data that isn't known here."""

_GIVEN_UP = frozenset({EventType.STEP_FAILED, EventType.STEP_UNKNOWN})


def infer_state(events: Sequence[SagaEvent]) -> SagaState:
    """Return the state that a log tells by itself, of the steps that it names. Raise as `fold` does."""
    kinds = _kinds(events)
    state = SagaState(steps=tuple(StepState(name=name, kind=kind) for name, kind in kinds.items()))
    for event in events:
        state = apply(state, event)
    return state


def _kinds(events: Sequence[SagaEvent]) -> dict[str, StepKind]:
    """Return each step that the log names, in their order, with its kind as far as that shows.

    A step that was given up, and nothing was undone for it, stood behind the pivot: the last one that had succeeded.
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
            event.type in _GIVEN_UP
            and succeeded is not None
            and following is not None
            and following.type is EventType.SAGA_NEEDS_ATTENTION
        ):
            kinds[event.step] = StepKind.RETRIABLE
            if kinds[succeeded] is StepKind.COMPENSATABLE:
                kinds[succeeded] = StepKind.PIVOT
    return kinds
