"""A saga's state is the fold of its log. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable

from app.saga.model.definition import SagaDefinition
from app.saga.model.errors import IllegalEvent
from app.saga.model.events import BY_OPERATORS, EventType, SagaEvent
from app.saga.model.state import SagaState
from app.saga.model.status import FINAL, INACTIVE
from app.saga.rules.transitions import TRANSITIONS

_SAGA_STARTED = EventType.SAGA_STARTED


def fold(definition: SagaDefinition, events: Iterable[SagaEvent]) -> SagaState:
    """Return the state after these events; raise `IllegalEvent` if they can't be a saga's log."""
    state = definition.initial_state
    for event in events:
        state = apply(state, event)
    return state


def apply(state: SagaState, event: SagaEvent) -> SagaState:
    """Return the state after one more event; raise `IllegalEvent` if it can't follow."""
    if event.seq != state.seq + 1:
        raise IllegalEvent(f"Event {event.seq} can't follow event {state.seq}.")
    if (event.seq == 1) is not (event.type is _SAGA_STARTED):
        raise IllegalEvent("A trail begins with saga_started, and has no other.")
    if state.status in INACTIVE and (state.status in FINAL or event.type not in BY_OPERATORS):
        raise IllegalEvent(f"{event.type} can't follow once the saga is {state.status}.")
    return TRANSITIONS[event.type](state, event)
