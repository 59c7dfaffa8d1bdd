"""An operator's actions: who may, what is refused and why, and answers that were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from app.access.principal import ANONYMOUS, Principal
from app.access.scopes import Scope
from app.operations.operator import TRIES, Operator
from app.operations.operator_rules import (
    NoAttentionNeeded,
    NotAllowed,
    NotCancellable,
    OperatorError,
    OperatorVerb,
    PastPivot,
    SagaFinished,
    StepNotStuck,
    UnknownSaga,
    UnknownStep,
)
from app.saga import Definitions, EventType, LogUnavailable, MemoryLog, SagaEvent, SagaStatus
from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.engine.runner import SagaRunner
from app.saga.model.errors import DefinitionUnknown, SagaMoved
from app.saga.model.operator_action import OperatorAction
from app.saga.ports.log import NewSaga, RowChange
from tests.builders import (
    VirtualClock,
    a_definition,
    a_saga,
    a_trail,
    an_action,
    an_id,
    by_person,
    compensated,
    compensation_failed,
    failed,
    finished,
    started,
    succeeded,
    was_recovered,
)

DEFINITION = a_definition(pivot="shipping")
_NAMED: dict[OperatorVerb, dict[str, Any]] = {OperatorVerb.RESOLVE: {"step": "payment"}}
ADA = Principal(tenant="shop", subject="ada", scopes=frozenset({Scope.OPERATE}))
ATTEND = finished(EventType.SAGA_NEEDS_ATTENTION)
STUCK = (succeeded("payment"), failed("inventory"), compensation_failed("payment"), ATTEND)
RUNNING = (succeeded("payment"),)
DONE = (*(succeeded(name) for name in ("payment", "inventory", "shipping")), finished())
UNDONE = (
    succeeded("payment"),
    failed("inventory"),
    compensated("payment"),
    finished(EventType.SAGA_COMPENSATED),
)
ENDS = {
    EventType.SAGA_COMPLETED: SagaStatus.COMPLETED,
    EventType.SAGA_COMPENSATED: SagaStatus.COMPENSATED,
    EventType.SAGA_NEEDS_ATTENTION: SagaStatus.NEEDS_ATTENTION,
}


class Doubtful(MemoryLog):
    """A log that may not say whether it stored: `lost` answers were stored, `away` ones were not."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.lost = 0
        self.away: list[bool | None] = []
        self.asked = 0

    async def operate(self, saga_id: str, **how: Any) -> None:
        await self._doubted(lambda: super(Doubtful, self).operate(saga_id, **how))

    async def request_cancel(
        self, saga_id: str, wish: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        stands: OperatorAction | None = await self._doubted(
            lambda: super(Doubtful, self).request_cancel(saga_id, wish, seen=seen)
        )
        return stands

    async def _doubted(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self.asked += 1
        if self.away:
            raise LogUnavailable(stored=self.away.pop(0))
        answer = await call()
        if self.lost:
            self.lost -= 1
            raise LogUnavailable(stored=None)
        return answer


class World:
    """An operator over a log in memory."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.log = Doubtful(self.clock)
        self.woken = 0
        self.noted: list[SagaEvent] = []
        definitions = Definitions([DEFINITION])
        orchestrator = SagaOrchestrator(DEFINITION, self.log, clock=self.clock)
        self.runner = SagaRunner(definitions, self.log, orchestrator, clock=self.clock)
        self.operator = Operator(
            self.runner,
            self.log,
            definitions,
            now=self.clock.now,
            new_id=an_id,
            wake=self._wake,
            observers=[lambda _, events: self.noted.extend(events)],
        )

    def _wake(self) -> None:
        self.woken += 1

    async def saga(self, *events: SagaEvent, **members: Any) -> NewSaga:
        """Store a saga with this trail, as its owner would have."""
        saga = a_saga(**{"caller": "shop", **members})
        first, *rest = a_trail(started(), *events)
        await self.log.start(saga, first, owner="me")
        for event in rest:
            status = ENDS.get(event.type)
            if status is None and event.type in {EventType.STEP_FAILED, EventType.STEP_UNKNOWN}:
                status = SagaStatus.COMPENSATING
            change = status and RowChange(
                status=status,
                next_action_at=event.at if status is SagaStatus.COMPENSATING else None,
                finished_at=None
                if status in {SagaStatus.COMPENSATING, SagaStatus.NEEDS_ATTENTION}
                else event.at,
            )
            await self.log.append(saga.id, epoch=1, events=[event], change=change or None)
        return saga

    async def trail(self, saga: NewSaga) -> list[tuple[str, str | None]]:
        """Return the events of a saga's trail, with the subject of each operator's action."""
        stored = await self.log.load(saga.id)
        assert stored is not None
        return [(event.type.value, event.data.get("who")) for event in stored.events]

    def acts(self, saga: NewSaga, **how: Any) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return each action on a saga by its name."""
        given = {"caller": ADA, "reason": "So.", **how}
        return {
            verb: partial(self.operator.act, verb, saga.id, **given, **_NAMED.get(verb, {}))
            for verb in OperatorVerb
        }


@pytest.fixture
def world() -> World:
    return World()


ACTIONS = tuple(OperatorVerb)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("caller", "error"),
    [
        (
            Principal(tenant="shop", subject="shop", scopes=frozenset({Scope.CHECKOUT, Scope.READ})),
            NotAllowed,
        ),
        (Principal(tenant="other", subject="bob", scopes=frozenset({Scope.OPERATE})), UnknownSaga),
    ],
)
async def test_operating_needs_the_scope_and_a_saga_that_can_be_seen(
    world: World, action: str, caller: Principal, error: type[OperatorError]
) -> None:
    """Another tenant's saga is as unknown as one that doesn't exist."""
    saga = await world.saga(*(RUNNING if action == "cancel" else STUCK))
    before = await world.log.load(saga.id)
    with pytest.raises(error):
        await world.acts(saga, caller=caller)[action]()
    assert await world.log.load(saga.id) == before
    if error is UnknownSaga:
        with pytest.raises(UnknownSaga):
            await world.acts(a_saga(), caller=caller)[action]()


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_operator_of_all_tenants_acts_under_their_own_name(world: World, action: str) -> None:
    saga = await world.saga(*(RUNNING if action == "cancel" else STUCK))
    await world.acts(saga, caller=ANONYMOUS)[action]()
    stored = await world.log.load(saga.id)
    assert stored is not None
    whose = stored.cancel_request.who if stored.cancel_request else stored.events[-1].data["who"]
    assert whose == "local"
    assert world.woken == 1


REFUSED: list[tuple[str, tuple[SagaEvent, ...], type[OperatorError]]] = [
    ("cancel", DONE, SagaFinished),
    ("cancel", UNDONE, SagaFinished),
    ("cancel", (by_person(EventType.CANCEL_REQUESTED), *UNDONE), SagaFinished),
    ("retry", UNDONE, SagaFinished),
    ("resolve", UNDONE, SagaFinished),
    ("cancel", DONE[:-1], PastPivot),
    ("cancel", STUCK, NotCancellable),
    ("retry", DONE, SagaFinished),
    ("retry", RUNNING, NoAttentionNeeded),
    ("retry", STUCK[:-2], NoAttentionNeeded),
    ("resolve", DONE, SagaFinished),
    ("resolve", RUNNING, NoAttentionNeeded),
    (
        "resolve",
        (
            succeeded("payment"),
            succeeded("inventory"),
            failed("shipping"),
            compensation_failed("inventory"),
            compensated("payment"),
            ATTEND,
        ),
        StepNotStuck,
    ),
]


@pytest.mark.parametrize(("action", "trail", "error"), REFUSED)
async def test_what_the_rules_refuse_changes_nothing(
    world: World, action: str, trail: tuple[SagaEvent, ...], error: type[OperatorError]
) -> None:
    saga = await world.saga(*trail)
    before = await world.log.load(saga.id)
    with pytest.raises(error):
        await world.acts(saga)[action]()
    assert await world.log.load(saga.id) == before
    assert world.woken == 0


async def test_resolving_an_unknown_step_is_refused(world: World) -> None:
    saga = await world.saga(*STUCK)
    with pytest.raises(UnknownStep):
        await world.operator.act(OperatorVerb.RESOLVE, saga.id, caller=ADA, step="loyalty", reason="So.")


async def test_a_saga_of_an_unknown_version_is_left_to_a_release_that_knows_it(world: World) -> None:
    """Whether it is past its pivot can't be told here."""
    saga = await world.saga(*STUCK, version=3)
    for act in world.acts(saga).values():
        with pytest.raises(DefinitionUnknown):
            await act()


async def test_repeating_a_cancellation_is_no_error(world: World) -> None:
    """Nor cancelling what compensates already; the first reason is kept."""
    for trail in ((by_person(EventType.CANCEL_REQUESTED),), STUCK[:-2]):
        saga = await world.saga(*trail)
        before = await world.log.load(saga.id)
        await world.operator.act(OperatorVerb.CANCEL, saga.id, caller=ADA, reason="Again.", seen={99})
        assert await world.log.load(saga.id) == before
    saga = await world.saga(*RUNNING)
    await world.operator.act(OperatorVerb.CANCEL, saga.id, caller=ADA, reason="First.", seen={2})
    await world.operator.act(OperatorVerb.CANCEL, saga.id, caller=ADA, reason="Second.", seen={1})
    stored = await world.log.load(saga.id)
    assert stored is not None
    assert stored.cancel_request is not None
    assert stored.cancel_request.reason == "First."


async def test_a_parked_saga_is_cancelled_in_its_trail(world: World) -> None:
    """No process owns it, so there is none to leave a request for."""
    saga = await world.saga(*RUNNING, *[was_recovered()] * 5, ATTEND)
    await world.operator.act(OperatorVerb.CANCEL, saga.id, caller=ADA, reason="So.")
    assert (await world.trail(saga))[-1] == ("cancel_requested", "ada")
    assert [event.type for event in world.noted] == [EventType.CANCEL_REQUESTED]


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action_on_a_saga_that_has_moved_since_it_was_seen_is_refused(
    world: World, action: str
) -> None:
    """On one that hasn't moved it is not."""
    trail = RUNNING if action == "cancel" else STUCK
    saga = await world.saga(*trail)
    length = len(trail) + 1
    for seen in ((), (length - 1,), (length + 1, 1)):
        with pytest.raises(SagaMoved):
            await world.acts(saga, seen=frozenset(seen))[action]()
    await world.acts(saga, seen=frozenset({1, length}))[action]()


async def test_of_two_operators_at_once_one_wins(world: World) -> None:
    """The other gets an error, and nothing of theirs is done."""
    for first, second in (("retry", "resolve"), ("retry", "retry"), ("resolve", "resolve")):
        saga = await world.saga(*STUCK)
        told = await asyncio.gather(
            world.acts(saga)[first](), world.acts(saga)[second](), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in told) in (
            ["NoAttentionNeeded", "NoneType"],
            ["NoneType", "SagaMoved"],
        )
        assert sum(who is not None for _, who in await world.trail(saga)) == 1


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action_whose_answer_was_lost_is_found_in_the_log(world: World, action: str) -> None:
    """It is stored once, and succeeds."""
    saga = await world.saga(*(RUNNING if action == "cancel" else STUCK))
    world.log.lost = 1
    await world.acts(saga, seen=frozenset({2, 5}))[action]()
    assert world.log.asked == 2
    assert world.woken == 1
    stored = await world.log.load(saga.id)
    assert stored is not None
    assert (stored.cancel_request is not None) is (action == "cancel")
    assert sum(who is not None for _, who in await world.trail(saga)) == (action != "cancel")


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action_that_was_not_stored_is_no_success_where_another_moved_the_saga(
    world: World, action: str
) -> None:
    """What was stored is the other one."""
    saga = await world.saga(*(RUNNING if action == "cancel" else STUCK))
    world.log.away = [None]
    await world.acts(saga, caller=ANONYMOUS)[action]()
    world.log.away = [None]
    try:
        await world.acts(saga)[action]()
    except (NoAttentionNeeded, SagaMoved):
        assert action != "cancel"
    stored = await world.log.load(saga.id)
    assert stored is not None
    assert "ada" not in {who for _, who in await world.trail(saga)}
    assert stored.cancel_request is None or stored.cancel_request.who == "local"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("answers", "stored"), [([False], False), ([None] * TRIES, None), ([None, False, False], None)]
)
async def test_an_unknown_result_is_raised_as_unknown(
    world: World, action: str, answers: list[bool | None], stored: bool | None
) -> None:
    """Neither success nor failure is claimed."""
    saga = await world.saga(*(RUNNING if action == "cancel" else STUCK))
    world.log.away = list(answers)
    with pytest.raises(LogUnavailable) as raised:
        await world.acts(saga)[action]()
    assert raised.value.stored is stored
    assert world.noted == []


async def test_a_saga_that_ends_while_its_cancellation_is_stored_is_read_again(world: World) -> None:
    """The refusal is about its present state."""
    saga = await world.saga(*DONE[:2])

    async def ended(*_: object, **__: object) -> None:
        end = a_trail(started(), *DONE)[3:]
        change = RowChange(status=SagaStatus.COMPLETED, next_action_at=None, finished_at=end[-1].at)
        await world.log.append(saga.id, epoch=1, events=end, change=change)

    world.log.request_cancel = ended  # type: ignore[method-assign]
    with pytest.raises(SagaFinished):
        await world.operator.act(OperatorVerb.CANCEL, saga.id, caller=ADA, reason="So.")


def test_an_action_survives_being_stored() -> None:
    """In its event, and as a pending request."""
    for action in (an_action(), an_action(reference="ticket 7")):
        assert OperatorAction.read(action.stored()) == action
        assert OperatorAction.of(action.data(), action.at) == action
