"""The operator's use case: who may, what is refused in which words, and answers that were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.access.principal import ANONYMOUS, Principal
from app.access.scopes import Scope
from app.operations.operator import (
    TRIES,
    NoAttentionNeeded,
    NotAllowed,
    NotCancellable,
    Operator,
    OperatorError,
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

    async def want_cancel(
        self, saga_id: str, wish: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        stands: OperatorAction | None = await self._doubted(
            lambda: super(Doubtful, self).want_cancel(saga_id, wish, seen=seen)
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


class Dispatcher:
    """An operator's desk over a log in memory, and a saga on it."""

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
            observers=[lambda _, event: self.noted.append(event)],
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

    async def told(self, saga: NewSaga) -> list[tuple[str, str | None]]:
        """Return the events of a saga's trail, with who did what a person did."""
        stored = await self.log.load(saga.id)
        assert stored is not None
        return [(event.type.value, event.data.get("who")) for event in stored.events]

    def acts(self, saga: NewSaga, **how: Any) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return each action on a saga by its name."""
        who = {"caller": ADA, "reason": "So.", **how}
        return {
            "cancel": lambda: self.operator.cancel(saga.id, **who),
            "retry": lambda: self.operator.retry(saga.id, **who),
            "resolve": lambda: self.operator.resolve(saga.id, step="payment", **who),
        }


@pytest.fixture
def desk() -> Dispatcher:
    return Dispatcher()


ACTIONS = ("cancel", "retry", "resolve")


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
async def test_only_who_may_operate_does_and_only_on_what_they_see(
    desk: Dispatcher, action: str, caller: Principal, error: type[OperatorError]
) -> None:
    """Another caller's saga is as unknown as one that there isn't."""
    saga = await desk.saga(*(RUNNING if action == "cancel" else STUCK))
    before = await desk.log.load(saga.id)
    with pytest.raises(error):
        await desk.acts(saga, caller=caller)[action]()
    assert await desk.log.load(saga.id) == before
    if error is UnknownSaga:
        with pytest.raises(UnknownSaga):
            await desk.acts(a_saga(), caller=caller)[action]()


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_operator_of_everyone_acts_under_their_own_name(desk: Dispatcher, action: str) -> None:
    saga = await desk.saga(*(RUNNING if action == "cancel" else STUCK))
    await desk.acts(saga, caller=ANONYMOUS)[action]()
    stored = await desk.log.load(saga.id)
    assert stored is not None
    whose = stored.cancel.who if stored.cancel else stored.events[-1].data["who"]
    assert whose == "local"
    assert desk.woken == 1


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
async def test_what_does_not_fit_is_refused_and_changes_nothing(
    desk: Dispatcher, action: str, trail: tuple[SagaEvent, ...], error: type[OperatorError]
) -> None:
    saga = await desk.saga(*trail)
    before = await desk.log.load(saga.id)
    with pytest.raises(error):
        await desk.acts(saga)[action]()
    assert await desk.log.load(saga.id) == before
    assert desk.woken == 0


async def test_a_step_that_the_saga_does_not_have_is_named(desk: Dispatcher) -> None:
    saga = await desk.saga(*STUCK)
    with pytest.raises(UnknownStep):
        await desk.operator.resolve(saga.id, caller=ADA, step="loyalty", reason="So.")


async def test_a_saga_of_another_version_is_left_to_who_knows_it(desk: Dispatcher) -> None:
    """Whether it is past its pivot can't be told here."""
    saga = await desk.saga(*STUCK, version=2)
    for act in desk.acts(saga).values():
        with pytest.raises(DefinitionUnknown):
            await act()


async def test_what_is_cancelled_or_goes_back_already_is_cancelled_in_peace(desk: Dispatcher) -> None:
    """The one who repeats it has what they want; the first one's reason stands."""
    for trail in ((by_person(EventType.CANCEL_REQUESTED),), STUCK[:-2]):
        saga = await desk.saga(*trail)
        before = await desk.log.load(saga.id)
        await desk.operator.cancel(saga.id, caller=ADA, reason="Again.", seen={99})
        assert await desk.log.load(saga.id) == before
    saga = await desk.saga(*RUNNING)
    await desk.operator.cancel(saga.id, caller=ADA, reason="First.", seen={2})
    await desk.operator.cancel(saga.id, caller=ADA, reason="Second.", seen={1})
    stored = await desk.log.load(saga.id)
    assert stored is not None
    assert stored.cancel is not None
    assert stored.cancel.reason == "First."


async def test_a_poisonous_saga_is_cancelled_in_its_trail(desk: Dispatcher) -> None:
    """Nobody owns it, so nobody else could write it down."""
    saga = await desk.saga(*RUNNING, *[was_recovered()] * 5, ATTEND)
    await desk.operator.cancel(saga.id, caller=ADA, reason="So.")
    assert (await desk.told(saga))[-1] == ("cancel_requested", "ada")
    assert [event.type for event in desk.noted] == [EventType.CANCEL_REQUESTED]


@pytest.mark.parametrize("action", ACTIONS)
async def test_what_moved_since_it_was_seen_is_refused(desk: Dispatcher, action: str) -> None:
    """And what was seen as it is, isn't."""
    trail = RUNNING if action == "cancel" else STUCK
    saga = await desk.saga(*trail)
    length = len(trail) + 1
    for seen in ((), (length - 1,), (length + 1, 1)):
        with pytest.raises(SagaMoved):
            await desk.acts(saga, seen=frozenset(seen))[action]()
    await desk.acts(saga, seen=frozenset({1, length}))[action]()


async def test_of_two_people_at_once_one_wins(desk: Dispatcher) -> None:
    """The other is told, and what they wanted isn't done."""
    for first, second in (("retry", "resolve"), ("retry", "retry"), ("resolve", "resolve")):
        saga = await desk.saga(*STUCK)
        told = await asyncio.gather(
            desk.acts(saga)[first](), desk.acts(saga)[second](), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in told) in (
            ["NoAttentionNeeded", "NoneType"],
            ["NoneType", "SagaMoved"],
        )
        assert sum(who is not None for _, who in await desk.told(saga)) == 1


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_answer_that_was_lost_is_found_again(desk: Dispatcher, action: str) -> None:
    """It is stored once, and whoever asked hears that it is."""
    saga = await desk.saga(*(RUNNING if action == "cancel" else STUCK))
    desk.log.lost = 1
    await desk.acts(saga, seen=frozenset({2, 5}))[action]()
    assert desk.log.asked == 2
    assert desk.woken == 1
    stored = await desk.log.load(saga.id)
    assert stored is not None
    assert (stored.cancel is not None) is (action == "cancel")
    assert sum(who is not None for _, who in await desk.told(saga)) == (action != "cancel")


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_doubt_that_another_ends_is_no_success(desk: Dispatcher, action: str) -> None:
    """It never was stored, and meanwhile somebody else moved the saga."""
    saga = await desk.saga(*(RUNNING if action == "cancel" else STUCK))
    desk.log.away = [None]
    await desk.acts(saga, caller=ANONYMOUS)[action]()
    desk.log.away = [None]
    try:
        await desk.acts(saga)[action]()
    except (NoAttentionNeeded, SagaMoved):
        assert action != "cancel"
    stored = await desk.log.load(saga.id)
    assert stored is not None
    assert "ada" not in {who for _, who in await desk.told(saga)}
    assert stored.cancel is None or stored.cancel.who == "local"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("answers", "stored"), [([False], False), ([None] * TRIES, None), ([None, False, False], None)]
)
async def test_where_nobody_can_tell_it_is_said_so(
    desk: Dispatcher, action: str, answers: list[bool | None], stored: bool | None
) -> None:
    """Nothing is claimed of what may or may not be stored."""
    saga = await desk.saga(*(RUNNING if action == "cancel" else STUCK))
    desk.log.away = list(answers)
    with pytest.raises(LogUnavailable) as told:
        await desk.acts(saga)[action]()
    assert told.value.stored is stored
    assert desk.noted == []


async def test_a_saga_that_ends_while_a_wish_is_being_stored_is_looked_at_again(desk: Dispatcher) -> None:
    """The refusal is about how it stands, not about how it stood."""
    saga = await desk.saga(*DONE[:2])

    async def ended(*_: object, **__: object) -> None:
        end = a_trail(started(), *DONE)[3:]
        change = RowChange(status=SagaStatus.COMPLETED, next_action_at=None, finished_at=end[-1].at)
        await desk.log.append(saga.id, epoch=1, events=end, change=change)

    desk.log.want_cancel = ended  # type: ignore[method-assign]
    with pytest.raises(SagaFinished):
        await desk.operator.cancel(saga.id, caller=ADA, reason="So.")


def test_an_action_comes_back_as_it_was() -> None:
    """From its event, and from where a wish waits."""
    for action in (an_action(), an_action(reference="ticket 7")):
        assert OperatorAction.read(action.stored()) == action
        assert OperatorAction.of(action.data(), action.at) == action
