"""What tests build sagas from: a clock, scripted steps, definitions, trails. Valid by default."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.checkout.definition import checkout_saga
from app.saga import (
    Context,
    EventType,
    MemoryLog,
    NewSaga,
    RetryPolicy,
    SagaDefinition,
    SagaEvent,
    SagaState,
    SagaStep,
    StepError,
    StoredSaga,
    fold,
)
from app.saga.model.operator_action import OperatorAction
from app.saga.model.step import JSON
from app.saga.ports.log import RowChange, StartResult
from app.services import (
    Gateway,
    InventoryService,
    InventoryStep,
    Participant,
    PaymentService,
    PaymentStep,
    ShippingService,
    ShippingStep,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When a test begins, unless it says otherwise."""

_ids = itertools.count(1)


def an_id() -> str:
    """Return a fresh id in the form of a saga's."""
    return str(uuid.UUID(int=next(_ids), version=4))


class VirtualClock:
    """Time that passes only where somebody lets it pass.

    A self-winding clock lets a sleeper's time pass at once; any other makes sleepers wait for `advance`.
    """

    def __init__(self, start: datetime = NOON, *, self_winding: bool = True) -> None:
        self.slept: list[float] = []
        self._start = start
        self._elapsed = 0.0
        self._self_winding = self_winding
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self._self_winding:
            self.advance(seconds)
            await asyncio.sleep(0)
            return
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), awake))
        await awake

    def advance(self, seconds: float) -> None:
        """Let time pass and wake whose time has come."""
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            awake = heapq.heappop(self._sleepers)[2]
            if not awake.done():
                awake.set_result(None)


async def settle() -> None:
    """Return once every task that can go on without outside help has done so."""
    for _ in range(50):
        await asyncio.sleep(0)


Journal = list[str]
"""What happened in a test, in one order: `payment.execute`, `log step_succeeded`, `payment.compensate`."""


class Hang:
    """The answer that never comes."""


HANG = Hang()

Answer = Mapping[str, JSON] | BaseException | Hang | Callable[[Context], Awaitable[Any]] | None


class ScriptedStep:
    """A step that gives the answers it was told to, in turn, and then succeeds."""

    def __init__(
        self, name: str, answers: Iterable[Answer], compensations: Iterable[Answer], journal: Journal
    ) -> None:
        self.name = name
        self.journal = journal
        self.executed: list[Context] = []
        self.compensated: list[Context] = []
        self._answers = deque(answers)
        self._compensations = deque(compensations)

    async def execute(self, context: Context) -> Mapping[str, JSON] | None:
        self.journal.append(f"{self.name}.execute")
        self.executed.append(context)
        answer = self._answers.popleft() if self._answers else {f"{self.name}_id": f"{self.name}-1"}
        return await _given(answer, context)

    async def compensate(self, context: Context) -> Mapping[str, JSON] | None:
        self.journal.append(f"{self.name}.compensate")
        self.compensated.append(context)
        return await _given(self._compensations.popleft() if self._compensations else None, context)


async def _given(answer: Answer, context: Context) -> Mapping[str, JSON] | None:
    if isinstance(answer, BaseException):
        raise answer
    if isinstance(answer, Hang):
        await asyncio.Event().wait()  # for ever
        return None
    if callable(answer):
        answered: Mapping[str, JSON] | None = await answer(context)
        return answered
    return answer


def a_step(
    name: str = "payment",
    *,
    answers: Iterable[Answer] = (),
    compensations: Iterable[Answer] = (),
    journal: Journal | None = None,
) -> ScriptedStep:
    """Return a step that succeeds and can be undone, unless told otherwise."""
    return ScriptedStep(name, answers, compensations, [] if journal is None else journal)


def three_steps(journal: Journal | None = None, **answers: Iterable[Answer]) -> list[ScriptedStep]:
    """Return payment, inventory and shipping; `shipping=[…]` scripts one, `undo_shipping=[…]` its compensation."""
    return [
        a_step(
            name,
            answers=answers.get(name, ()),
            compensations=answers.get(f"undo_{name}", ()),
            journal=journal,
        )
        for name in ("payment", "inventory", "shipping")
    ]


QUICK = RetryPolicy(attempts=2, base=1.0, cap=8.0)
"""Two sends, and one second at most between them."""


def a_definition(
    steps: Sequence[ScriptedStep] | None = None,
    *,
    policy: RetryPolicy = QUICK,
    compensation: RetryPolicy = QUICK,
    deadline: float = 300.0,
    pivot: str | None = None,
) -> SagaDefinition:
    """Return a saga of three steps that can be undone; from `pivot` on there is no way back."""
    definition = SagaDefinition("checkout", version=2, deadline=deadline)
    past = False
    for step in three_steps() if steps is None else steps:
        if past:
            definition = definition.then(step, policy=policy)
        elif step.name == pivot:
            definition, past = definition.pivot(step, policy=policy, compensation=compensation), True
        else:
            definition = definition.do(step, policy=policy, compensation=compensation)
    return definition


def checkout_steps(gateway: Callable[[Participant], Gateway]) -> list[SagaStep]:
    """Return the checkout's own steps in their order, each over the gateway to its service."""
    return [
        PaymentStep(PaymentService(gateway(Participant.PAYMENT))),
        InventoryStep(InventoryService(gateway(Participant.INVENTORY))),
        ShippingStep(ShippingService(gateway(Participant.SHIPPING))),
    ]


def a_checkout(gateway: Callable[[Participant], Gateway], **changes: Any) -> SagaDefinition:
    """Return the checkout's definition over the gateways to its services; `policy`, `deadline` and more can be given."""
    payment, inventory, shipping = checkout_steps(gateway)
    return checkout_saga(payment=payment, inventory=inventory, shipping=shipping, **changes)


def a_saga(**changes: Any) -> NewSaga:
    """Return a new saga that any log takes and that collides with no other."""
    saga_id = an_id()
    saga = NewSaga(
        id=saga_id,
        definition="checkout",
        version=2,
        input={"order_id": f"order-{saga_id}", "amount": 1999},
        order_id=f"order-{saga_id}",
    )
    return replace(saga, **changes)


def an_event(event: EventType = EventType.SAGA_STARTED, step: str | None = None, **changes: Any) -> SagaEvent:
    """Return an event; a trail gives it its `seq`."""
    return replace(SagaEvent(seq=1, at=NOON, type=event, step=step), **changes)


def started() -> SagaEvent:
    return an_event()


def succeeded(step: str, attempt: int = 1, **result: JSON) -> SagaEvent:
    return an_event(EventType.STEP_SUCCEEDED, step, attempt=attempt, data={"result": result})


def retried(step: str, attempt: int = 1, *, outcome: str = "unavailable", at: datetime = NOON) -> SagaEvent:
    data = {"error": an_error(), "outcome": outcome, "next_action_at": at.isoformat()}
    return an_event(EventType.STEP_RETRIED, step, attempt=attempt, data=data)


def failed(step: str, attempt: int = 1) -> SagaEvent:
    return an_event(EventType.STEP_FAILED, step, attempt=attempt, data={"error": an_error()})


def unknown(step: str, attempt: int = 1) -> SagaEvent:
    return an_event(EventType.STEP_UNKNOWN, step, attempt=attempt, data={"error": an_error()})


def compensated(step: str, attempt: int = 1) -> SagaEvent:
    return an_event(EventType.STEP_COMPENSATED, step, attempt=attempt)


def compensation_retried(step: str, attempt: int = 1, *, at: datetime = NOON) -> SagaEvent:
    data = {"error": an_error(), "next_action_at": at.isoformat()}
    return an_event(EventType.COMPENSATION_RETRIED, step, attempt=attempt, data=data)


def compensation_failed(step: str, attempt: int = 1) -> SagaEvent:
    return an_event(EventType.COMPENSATION_FAILED, step, attempt=attempt, data={"error": an_error()})


def was_recovered() -> SagaEvent:
    return an_event(EventType.SAGA_RECOVERED)


def finished(event: EventType = EventType.SAGA_COMPLETED) -> SagaEvent:
    return an_event(event)


def by_person(what: EventType, step: str | None = None, **data: JSON) -> SagaEvent:
    told: dict[str, JSON] = {"who": "ada", "reason": "The customer called.", "action": "a1", **data}
    return an_event(what, step, data=told)


def an_action(who: str = "ada", **members: Any) -> OperatorAction:
    """Return what a person did."""
    return OperatorAction(
        **{"id": an_id(), "who": who, "reason": "The customer called.", "at": NOON, **members}
    )


def an_error(code: str = "rejected", message: str = "No.", kind: str = "refused") -> dict[str, JSON]:
    return {"code": code, "message": message, "kind": kind}


def a_trail(*events: SagaEvent) -> tuple[SagaEvent, ...]:
    """Return the events numbered from 1."""
    return tuple(replace(event, seq=seq) for seq, event in enumerate(events, start=1))


def a_state(*events: SagaEvent, definition: SagaDefinition | None = None) -> SagaState:
    """Return what a trail of these events, after `saga_started`, tells."""
    return fold(definition or a_definition(), a_trail(started(), *events))


class NotedLog(MemoryLog):
    """A log in memory that notes in the journal what became durable, one line for each append."""

    def __init__(self, clock: VirtualClock, journal: Journal) -> None:
        super().__init__(clock)
        self.journal = journal
        self.changes: list[RowChange | None] = []

    @property
    def writes(self) -> list[str]:
        """The lines of the journal that the log wrote: one for each commit."""
        return [line for line in self.journal if line.startswith("log ")]

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        result = await super().start(saga, event, owner=owner)
        await asyncio.sleep(0)  # being durable takes a while
        self.journal.append(f"log {event.type}")
        return result

    async def append(
        self, saga_id: str, *, epoch: int, events: Sequence[SagaEvent], change: RowChange | None = None
    ) -> None:
        await super().append(saga_id, epoch=epoch, events=events, change=change)
        await asyncio.sleep(0)
        self.changes.append(change)
        self.journal.append("log " + " + ".join(event.type for event in events))

    async def trail(self, saga_id: str) -> list[str]:
        """Return a saga's trail as people say it: `step_succeeded payment`."""
        return told((await self.stored(saga_id)).events)

    async def stored(self, saga_id: str) -> StoredSaga:
        """Return a saga that is certainly there."""
        stored = await self.load(saga_id)
        assert stored is not None
        return stored


def told(events: Iterable[SagaEvent]) -> list[str]:
    """Return events as people say them: `step_succeeded payment`."""
    return [f"{event.type} {event.step}" if event.step else str(event.type) for event in events]


def the_most() -> float:
    """Jitter that makes each pause as long as it can be."""
    return 1.0


def times(count: int, error: StepError) -> list[Answer]:
    """Return the same answer so many times."""
    return [error] * count
