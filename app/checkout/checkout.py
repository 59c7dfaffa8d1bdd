"""The checkout: the saga read as one sentence, and the use case around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from app.access.principal import ANONYMOUS, Principal
from app.saga.engine.runner import SagaRunner
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.attention import Attention, StepAction, attention_of
from app.saga.model.definition import Definitions, SagaDefinition
from app.saga.model.errors import DefinitionUnknown, LogUnavailable, SagaError
from app.saga.model.events import EventType, TrailEntry
from app.saga.model.operator_action import OperatorAction
from app.saga.model.placeholder import UNFOLDABLE, recall
from app.saga.model.retry import RetryPolicy
from app.saga.model.state import FINAL, INACTIVE, IllegalEvent, SagaState, SagaStatus, fold
from app.saga.model.step import JSON, SagaStep
from app.saga.ports.log import (
    BusinessKeyConflict,
    IdempotencyConflict,
    NewSaga,
    ReadSaga,
    SagaLog,
    Stored,
    StoredSaga,
    UnreadableSaga,
    load,
)
from app.saga.ports.queries import SagaFilter, SagaQueries

POLL_SECONDS = 0.25
"""How often a saga that another replica runs is looked at while somebody waits for it."""


def checkout_saga(
    *,
    payment: SagaStep,
    inventory: SagaStep,
    shipping: SagaStep,
    policy: RetryPolicy | None = None,
    compensation: RetryPolicy | None = None,
    deadline: float = 300.0,
    key_window: float = 23 * 3600.0,
) -> SagaDefinition:
    """Charge, reserve, then ship; undone in reverse where shipping can't be had."""
    return (
        SagaDefinition("checkout", version=1, deadline=deadline, key_window=key_window)
        .do(payment, policy=policy, compensation=compensation)
        .do(inventory, policy=policy, compensation=compensation)
        .pivot(shipping, policy=policy, compensation=compensation)
    )


class CheckoutError(SagaError):
    """This checkout can't be begun, and nothing was stored."""


class KeyReused(CheckoutError):
    """The Idempotency-Key belongs to another request: use a new key for a new checkout."""


class OrderTakenError(CheckoutError):
    """Another saga has this order: look at that one instead. `blocks` says what that one needs attention for, if it does."""

    def __init__(self, saga_id: str, status: SagaStatus, blocks: str = "") -> None:
        super().__init__()
        self.saga_id = saga_id
        self.status = status
        self.blocks = blocks


class OrderInCheckout(OrderTakenError):
    """A checkout of this order is under way: wait for it instead of beginning another."""


class OrderAlreadyCheckedOut(OrderTakenError):
    """This order has been checked out: nothing is left to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A durable saga. `replayed` says that an earlier request with the same key began it."""

    saga_id: str
    replayed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaView:
    """A saga as it is shown: what it is, how it stands, and its trail.

    `cancel` is a person's wish to stop it, heeded or still waiting for what is under way. `unreadable` says, in a
    sentence, why this release can't go on with it, or understand it; its state then says what is known for sure.
    """

    saga: NewSaga
    state: SagaState
    events: tuple[TrailEntry, ...]
    next_action_at: datetime | None
    cancel: OperatorAction | None = None
    unreadable: str | None = None

    @property
    def created_at(self) -> datetime:
        """When it began."""
        return self.state.started_at or self.events[0].at

    @property
    def at_rest(self) -> bool:
        """Whether nobody works on it: it is finished or waits for a person."""
        return self.state.status in INACTIVE

    @property
    def attention(self) -> Attention | None:
        """What blocks it and needs an operator; None where nothing does."""
        if self.events and self.state.steps:
            return attention_of(self.state, self.events[-1])
        if self.state.status is not SagaStatus.NEEDS_ATTENTION:
            return None
        return Attention(
            step=None,
            action=StepAction.EXECUTE,
            code="saga_unreadable",
            message=self.unreadable or "It can't go on.",
            since=self.state.updated_at or self.created_at,
        )


class Checkout:
    """Begins checkouts and tells how they stand."""

    def __init__(
        self,
        runner: SagaRunner,
        log: SagaLog,
        queries: SagaQueries,
        definitions: Definitions,
        *,
        current: SagaDefinition,
        new_id: Callable[[], str],
        lease_until: Callable[[], datetime | None],
        lease_held: Callable[[], bool] = lambda: True,
    ) -> None:
        self._runner = runner
        self._log = log
        self._queries = queries
        self._definitions = definitions
        self._current = current
        self._new_id = new_id
        self._lease_until = lease_until
        self._lease_held = lease_held

    async def place(
        self,
        order: dict[str, JSON],
        *,
        caller: str = "",
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
        is_of_earlier_release: Callable[[str, dict[str, JSON]], bool] = lambda _known, _input: False,
        request_id: str | None = None,
        patience: float = 10.0,
    ) -> Placed:
        """Begin a checkout and return once it is durable; its saga then runs whoever waits.

        `order` is the saga's input: order_id, customer_id, currency, amount, items, payment_method,
        shipping_address, metadata and, with the sandbox, simulate. Where the key is taken under another
        fingerprint, `is_of_earlier_release` is asked whether that one, with its saga's input, is of this
        request all the same. Raise `KeyReused`,
        `OrderInCheckout` or `OrderAlreadyCheckedOut`; `LogUnavailable` where the log has not answered
        within `patience` seconds, with `stored` None where it may yet do so.
        """
        new = NewSaga(
            id=self._new_id(),
            definition=self._current.name,
            version=self._current.version,
            input=order,
            caller=caller,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            order_id=order["order_id"],
            customer_id=order["customer_id"],
            request_id=request_id,
        )
        while True:
            running = self._runner.launch(new)
            await asyncio.wait({running.started}, timeout=patience)
            if not running.started.done():
                raise LogUnavailable("The saga log has not answered in time.", stored=None)
            match running.started.result():
                case Stored():
                    return Placed(saga_id=new.id, replayed=False)
                case IdempotencyConflict(saga_id=saga_id, fingerprint=known):
                    if known != fingerprint and not await self._is_known(
                        saga_id, known, is_of_earlier_release, patience
                    ):
                        raise KeyReused
                    return Placed(saga_id=saga_id, replayed=True)
                case BusinessKeyConflict(saga_id=saga_id, status=SagaStatus.COMPLETED):
                    raise OrderAlreadyCheckedOut(saga_id, SagaStatus.COMPLETED)
                case BusinessKeyConflict(saga_id=saga_id, status=status) if (
                    status is not SagaStatus.COMPENSATED
                ):
                    raise OrderInCheckout(saga_id, status, await self._blocks(saga_id, status, patience))
            # The order's other saga was compensated just now, so the way is free: again.

    async def _blocks(self, saga_id: str, status: SagaStatus, patience: float) -> str:
        """Return what a saga needs attention for; nothing where it doesn't, or where that can't be read now."""
        if status is not SagaStatus.NEEDS_ATTENTION:
            return ""
        try:
            async with asyncio.timeout(patience):
                view = await self.get(saga_id)
        except (LogUnavailable, TimeoutError):
            return ""
        return view.attention.message if view and view.attention else ""

    async def _is_known(
        self,
        saga_id: str,
        known: str | None,
        is_of_earlier_release: Callable[[str, dict[str, JSON]], bool],
        patience: float,
    ) -> bool:
        """Whether a key's fingerprint, though another, is of the same request. Raise `LogUnavailable`."""
        try:
            async with asyncio.timeout(patience):
                stored = await load(self._log, saga_id)
        except TimeoutError:
            raise LogUnavailable("The saga log has not answered in time.", stored=None) from None
        return known is not None and stored is not None and is_of_earlier_release(known, stored.saga.input)

    async def get(self, saga_id: str, *, caller: Principal = ANONYMOUS) -> SagaView | None:
        """Return a saga as it is durable now; None for another caller's.

        It is told from memory where it runs here, while nobody else can have moved it; as a person can
        who acts on what needs attention.
        """
        running = self._runner.get(saga_id)
        stuck = running is not None and running.run.state.status is SagaStatus.NEEDS_ATTENTION
        if running is not None and not stuck and self._lease_held():
            view = self._live(running.run)
        else:
            read = await load(self._log, saga_id)
            if read is None:
                return None
            view = self._read(read)
        return view if caller.can_see(view.saga.caller) else None

    async def wait(self, saga_id: str, *, seconds: float, caller: Principal = ANONYMOUS) -> SagaView | None:
        """Return the saga once it rests, or as it stands after `seconds`, wherever it runs."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            running = self._runner.get(saga_id)
            if running is not None and not running.at_rest:
                await running.wait_done(max(0.0, until - loop.time()))
                if running.at_rest:
                    view = self._live(running.run)
                    return view if caller.can_see(view.saga.caller) else None
            view = await self.get(saga_id, caller=caller)
            left = until - loop.time()
            if view is None or view.at_rest or left <= 0:
                return view
            await asyncio.sleep(min(POLL_SECONDS, left))

    async def list_sagas(
        self, wanted: SagaFilter, *, before: str | None = None, limit: int = 20
    ) -> list[SagaView]:
        """Return at most `limit` sagas, newest first, with an id below `before`."""
        return [self._read(one) for one in await self._queries.list_sagas(wanted, before=before, limit=limit)]

    def as_of(self, read: ReadSaga, seq: int) -> SagaView:
        """Return a saga as it stood at an event at which it rested: the same whatever came later."""
        if isinstance(read, UnreadableSaga):
            return _unreadable(_until(read, seq))
        events = tuple(event for event in read.events if event.seq <= seq)
        return self._read(replace(read, events=events, lease_expires_at=None))

    def plan(self) -> SagaDefinition:
        """Return the definition that a new checkout follows."""
        return self._current

    def _live(self, run: SagaInstance) -> SagaView:
        return self._view(run.saga, run.state, tuple(run.events), self._lease_until(), run.wish)

    def _read(self, read: ReadSaga) -> SagaView:
        """Return what can be shown of a saga, whatever its log holds."""
        if isinstance(read, UnreadableSaga):
            return _unreadable(read)
        state, unreadable = self._state(read)
        if state is None:
            return _unreadable(_damaged(read, unreadable or ""))
        view = self._view(read.saga, state, read.events, read.lease_expires_at, read.cancel)
        return view if unreadable is None else replace(view, unreadable=unreadable)

    def _state(self, stored: StoredSaga) -> tuple[SagaState | None, str | None]:
        """Return how a saga stands, None where nobody can tell, and why it can't be gone on with here.

        A saga that has ended needs no definition any more: its log tells all that was done.
        """
        name, version = stored.saga.definition, stored.saga.version
        try:
            return fold(self._definitions.get(name, version), stored.events), None
        except DefinitionUnknown:
            reason = (
                f"This release has no definition of {name!r} version {version}: another one goes on with it."
            )
        except IllegalEvent as error:
            reason = (
                f"Its trail doesn't fit the definition {name!r} version {version} of this release: {error}"
            )
        except UNFOLDABLE:
            return None, "An event of its trail holds what this release doesn't know."
        try:
            state = recall(stored.events)
        except (IllegalEvent, *UNFOLDABLE) as error:
            return None, str(error) if isinstance(error, IllegalEvent) else reason
        return state, None if state.status in FINAL else reason

    @staticmethod
    def _view(
        saga: NewSaga,
        state: SagaState,
        events: tuple[TrailEntry, ...],
        lease_until: datetime | None,
        wish: OperatorAction | None,
    ) -> SagaView:
        """While an action is under way, the next one after it is due at the latest when the lease ends."""
        due = None
        if state.status not in INACTIVE:
            due = state.next_action_at or lease_until or state.updated_at
        cancel = state.cancel or (wish if state.cancellable else None)
        return SagaView(saga=saga, state=state, events=events, next_action_at=due, cancel=cancel)


def _damaged(stored: StoredSaga, reason: str) -> UnreadableSaga:
    """Return a saga that was read, and doesn't make sense."""
    first, last = stored.events[0], stored.events[-1]
    return UnreadableSaga(
        saga=stored.saga,
        status=stored.status,
        reason=reason,
        trail=stored.events,
        created_at=first.at,
        updated_at=last.at,
        finished_at=last.at if stored.status in FINAL else None,
    )


def _until(read: UnreadableSaga, seq: int) -> UnreadableSaga:
    """Return a saga as it stood at an event at which it rested, which that event tells."""
    trail = tuple(one for one in read.trail if one.seq <= seq)
    last = trail[-1] if trail else None
    status = _RESTS.get(last.type) if last is not None else None
    if last is None or status is None:
        return read
    finished_at = last.at if status in FINAL else None
    return replace(read, trail=trail, status=status, updated_at=last.at, finished_at=finished_at)


def _unreadable(read: UnreadableSaga) -> SagaView:
    """Return what can be shown of a saga that can't be understood: what its row says, and its raw trail."""
    state = SagaState(
        steps=(),
        status=read.status,
        seq=read.trail[-1].seq if read.trail else 0,
        started_at=read.created_at,
        updated_at=read.updated_at,
        finished_at=read.finished_at,
    )
    due = None if read.status in INACTIVE else read.updated_at
    return SagaView(
        saga=read.saga, state=state, events=read.trail, next_action_at=due, unreadable=read.reason
    )


_RESTS: Mapping[str, SagaStatus] = {
    EventType.SAGA_COMPLETED: SagaStatus.COMPLETED,
    EventType.SAGA_COMPENSATED: SagaStatus.COMPENSATED,
    EventType.SAGA_NEEDS_ATTENTION: SagaStatus.NEEDS_ATTENTION,
}


__all__ = [
    "Checkout",
    "CheckoutError",
    "KeyReused",
    "OrderAlreadyCheckedOut",
    "OrderInCheckout",
    "OrderTakenError",
    "Placed",
    "SagaFilter",
    "SagaQueries",
    "SagaView",
    "checkout_saga",
]
