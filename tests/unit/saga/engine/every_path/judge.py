"""The judge of a saga that has come to rest: the trail, what was sent, and what stands outside."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from app.saga import (
    EventType,
    SagaDefinition,
    SagaEvent,
    SagaState,
    SagaStatus,
    StepStatus,
    StoredSaga,
    fold,
)
from app.saga.model.status import INACTIVE
from app.saga.rules.decide import POISON_AFTER
from app.saga.rules.fold import apply
from tests.builders import told as words_of
from tests.unit.saga.engine.every_path.life import Life
from tests.unit.saga.engine.every_path.world import DEFINITE_NO, NAMES, Way

LEGAL_EDGES = {
    ("running", "compensating"),
    ("running", "completed"),
    ("running", "needs_attention"),
    ("compensating", "compensated"),
    ("compensating", "needs_attention"),
    # Several events of one append may pass a status through within it:
    *((status, status) for status in ("running", "compensating")),
}


def prefixes(definition: SagaDefinition, events: Sequence[SagaEvent]) -> Iterator[SagaState]:
    state = definition.initial_state
    yield state
    for event in events:
        yield (state := apply(state, event))


def judge(life: Life, stored: StoredSaga | None) -> SagaStatus | None:
    """Check every promise about a saga that has come to rest; return its status."""
    world = life.world
    if stored is None:
        assert world.sends == [], "something was sent for a saga that is not durable"
        return None
    events, participants = stored.events, world.participants
    states = list(prefixes(life.definition, events))
    state = states[-1]
    poisoned = any(one.recoveries >= POISON_AFTER for one in states)

    def how() -> str:
        return f"{words_of(events)} {world.fate.asked} {world.crashes}"

    # The trail and the way through it.
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), how()
    assert [event.at for event in events] == sorted(event.at for event in events), how()
    assert stored.status is state.status in INACTIVE, how()
    edges = {(a.status.value, b.status.value) for a, b in itertools.pairwise(states)}
    assert edges <= LEGAL_EDGES, how()
    assert (state.finished_at is None) == (state.status is SagaStatus.NEEDS_ATTENTION), how()
    assert sum(event.type is EventType.SAGA_STARTED for event in events) == 1, how()

    # What was sent: always the same body, compensations one after the other in strict reverse.
    for participant in participants.values():
        assert all(body == participant.bodies[0] for body in participant.bodies), how()
    undoing = [name for action, name in world.sends if action == "compensate"]
    order = [name for n, name in enumerate(undoing) if n == 0 or undoing[n - 1] != name]
    succeeded = {e.step for e in events if e.type is EventType.STEP_SUCCEEDED}
    past_pivot = life.pivot in succeeded  # by the trail: the state forgets it when the pivot is undone
    assert not (past_pivot and state.status is SagaStatus.COMPENSATED), how()
    back = state.failure is not None and not past_pivot
    reverse = list(reversed(state.completion_order)) if back else []
    assert order == (reverse[: len(order)] if poisoned else reverse), how()
    concluded = [
        e.step for e in events if e.type in {EventType.STEP_COMPENSATED, EventType.COMPENSATION_FAILED}
    ]
    assert concluded == (reverse[: len(concluded)] if poisoned else reverse), how()

    # Who may have had an effect, as their answers and the crashes tell, not as the state does.
    crashed_in_turn = {
        before.current.name
        for before, event in zip(states, events, strict=False)
        if event.type is EventType.SAGA_RECOVERED and before.status is SagaStatus.RUNNING and before.current
    }
    for name, participant in participants.items():
        heard_no = all(way in DEFINITE_NO for way in participant.answers)
        step = state.step(name)
        if heard_no and name not in crashed_in_turn:
            assert not participant.undone, f"{name} was undone without an effect: {how()}"
        elif (name in succeeded or not heard_no) and state.status is SagaStatus.COMPENSATED:
            assert step.status is StepStatus.COMPENSATED, f"{name} was not undone: {how()}"
            assert participant.undone[-1] is Way.OK or None in participant.undone, how()

    # What stands in the end, also after everything late has landed.
    world.land()
    standing = {name for name, participant in participants.items() if participant.stands}
    match state.status:
        case SagaStatus.COMPLETED:
            assert succeeded == set(NAMES), how()
            assert standing == set(NAMES), how()
        case SagaStatus.COMPENSATED:
            assert standing == set(), how()
        case _ if past_pivot:
            assert not undoing, f"something was undone past the pivot: {how()}"
        case _ if not poisoned:
            gave_up = {s.name for s in state.steps if s.status is StepStatus.COMPENSATION_FAILED}
            assert gave_up, f"needs attention without a reason: {how()}"
            assert standing <= gave_up, f"something stands that nobody is told of: {how()}"
    return state.status


def judge_after_standstill(life: Life, stored: StoredSaga) -> None:
    """Check what stands once the woken process has sent what it still had in hand, and all has landed."""
    life.world.land()
    standing = {name for name, participant in life.world.participants.items() if participant.stands}
    match stored.status:
        case SagaStatus.COMPLETED:
            assert standing == set(NAMES)
        case SagaStatus.COMPENSATED:
            assert standing == set()
        case _:
            failed = fold(life.definition, stored.events)
            gave_up = {s.name for s in failed.steps if s.status is StepStatus.COMPENSATION_FAILED}
            assert standing <= gave_up
