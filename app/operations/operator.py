"""What a person does about a saga: cancel it, retry what failed, or settle a step outside.

    cancel    a wish on the saga's row ──▶ its owner, wherever it runs, heeds it at its next boundary
    retry     ┐ an event under a new epoch, on a saga that needs attention and that nobody owns
    resolve   ┘ ──▶ due at once: whichever replica claims it goes on

Two people at once: the second one's epoch is gone, and it is told that the saga has moved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import TypeVar

from app.access.principal import Principal
from app.access.scopes import Scope
from app.saga.engine.runner import SagaRunner
from app.saga.model.attention import attention_of
from app.saga.model.decide import asked
from app.saga.model.definition import Definitions
from app.saga.model.errors import DefinitionUnknown, LogUnavailable, LogUnreadable, SagaError, SagaMoved
from app.saga.model.events import EventType, Observer
from app.saga.model.operator_action import OperatorAction
from app.saga.model.placeholder import UNFOLDABLE
from app.saga.model.state import FINAL, IllegalEvent, SagaState, SagaStatus, apply, fold
from app.saga.ports.log import SagaLog, StoredSaga, UnreadableSaga, load

T = TypeVar("T")

TRIES = 3
"""How often an action is given to a log that doesn't say whether it stored it."""


class OperatorError(SagaError):
    """This can't be done about the saga, and nothing was. `blocks` says what the saga needs attention for, if it does."""

    def __init__(self, blocks: str = "") -> None:
        super().__init__()
        self.blocks = blocks


class NotAllowed(OperatorError):
    """The caller may not operate on sagas."""


class UnknownSaga(OperatorError):
    """There is no such saga, or it is another caller's."""


class SagaFinished(OperatorError):
    """The saga has ended: nothing can be done about it any more."""


class PastPivot(OperatorError):
    """The saga is past its pivot: it can only go forward."""


class NotCancellable(OperatorError):
    """The saga is going back already and got stuck: retry it, or resolve what it can't undo."""


class NoAttentionNeeded(OperatorError):
    """The saga doesn't need attention: it ended, or is being worked on."""


class UnknownStep(OperatorError):
    """The saga has no step of that name."""


class StepNotStuck(OperatorError):
    """That step is not what the saga can't get over: there is nothing to settle."""


class Operator:
    """Acts on sagas in a person's name; each action stands in the trail, with who and why.

    `seen` are the lengths of the trail that the person may have had before them; None for any. Every
    method raises an `OperatorError`; `SagaMoved` where the saga isn't as it was seen, or somebody else was
    first; `LogUnavailable`, with `stored` None where nobody can tell whether it was done.
    """

    def __init__(
        self,
        runner: SagaRunner,
        log: SagaLog,
        definitions: Definitions,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        wake: Callable[[], None],
        observers: Sequence[Observer] = (),
    ) -> None:
        """`wake` has what is due claimed at once."""
        self._runner = runner
        self._log = log
        self._definitions = definitions
        self._now = now
        self._new_id = new_id
        self._wake = wake
        self._observers = observers

    async def cancel(
        self, saga_id: str, *, caller: Principal, reason: str, seen: Collection[int] | None = None
    ) -> None:
        """Stop a saga going forward: what is under way is waited for, then everything done is undone.

        Where it is being stopped already, or goes back on its own, nothing more is done; once it has ended,
        by an earlier cancel too, `SagaFinished` is raised.
        """
        action = self._action(caller, reason)
        for _ in range(TRIES):
            stored, state = await self._found(saga_id, caller)
            if state.status in FINAL:
                raise SagaFinished
            if state.cancel is not None or state.status is SagaStatus.COMPENSATING:
                return
            if state.past_pivot:
                raise PastPivot
            if state.status is SagaStatus.NEEDS_ATTENTION and not state.cancellable:
                raise NotCancellable(_blocks(stored, state))
            if stored.cancel is None:
                _check_seen(state, seen)
            if state.status is SagaStatus.NEEDS_ATTENTION:
                await self._operate(stored, state, EventType.CANCEL_REQUESTED, action)
                return
            if (wish := await self._want_cancel(stored, state, action, seen)) is not None:
                self._runner.cancel(saga_id, wish)
                self._wake()
                return
        raise SagaMoved

    async def retry(
        self, saga_id: str, *, caller: Principal, reason: str, seen: Collection[int] | None = None
    ) -> None:
        """Have what failed tried again, with a fresh budget of attempts."""
        action = self._action(caller, reason)
        stored, state = await self._stuck(saga_id, caller, seen)
        await self._operate(stored, state, EventType.RETRY_REQUESTED, action)

    async def resolve(
        self,
        saga_id: str,
        *,
        caller: Principal,
        step: str,
        reason: str,
        reference: str | None = None,
        seen: Collection[int] | None = None,
    ) -> None:
        """Note that a person settled a step outside, and go on with the rest."""
        action = self._action(caller, reason, reference)
        stored, state = await self._stuck(saga_id, caller, seen)
        try:
            stuck = state.resolvable(step)
        except IllegalEvent:
            raise UnknownStep from None
        if not stuck:
            raise StepNotStuck(_blocks(stored, state))
        await self._operate(stored, state, EventType.STEP_RESOLVED, action, step=step)

    def _action(self, caller: Principal, reason: str, reference: str | None = None) -> OperatorAction:
        if not caller.has_scope(Scope.OPERATE):
            raise NotAllowed
        return OperatorAction(
            id=self._new_id(),
            who=caller.subject or caller.tenant,
            reason=reason,
            at=self._now(),
            reference=reference,
        )

    async def _found(self, saga_id: str, caller: Principal) -> tuple[StoredSaga, SagaState]:
        """Return a saga as it is durable now.

        Raise `DefinitionUnknown` or `LogUnreadable` for one that can't be judged here.
        """
        stored = await load(self._log, saga_id)
        if stored is None or not caller.can_see(stored.saga.caller):
            raise UnknownSaga
        if isinstance(stored, UnreadableSaga):
            raise SagaFinished if stored.status in FINAL else LogUnreadable(stored.reason)
        try:
            definition = self._definitions.get(stored.saga.definition, stored.saga.version)
            return stored, fold(definition, stored.events)
        except (DefinitionUnknown, IllegalEvent, *UNFOLDABLE) as error:
            if stored.status in FINAL:
                raise SagaFinished from None
            if isinstance(error, DefinitionUnknown):
                raise
            raise LogUnreadable from error

    async def _stuck(
        self, saga_id: str, caller: Principal, seen: Collection[int] | None
    ) -> tuple[StoredSaga, SagaState]:
        stored, state = await self._found(saga_id, caller)
        if state.status in FINAL:
            raise SagaFinished
        _check_seen(state, seen)
        if state.status is not SagaStatus.NEEDS_ATTENTION:
            raise NoAttentionNeeded
        return stored, state

    async def _want_cancel(
        self, stored: StoredSaga, state: SagaState, wish: OperatorAction, seen: Collection[int] | None
    ) -> OperatorAction | None:
        """Leave the wish for the saga's owner; return the one that stands, None where it doesn't run any more.

        A wish that stands already is joined, whatever was seen: the one who repeats it gets what they want.
        """
        as_seen = state.seq if seen is not None and stored.cancel is None else None
        return await _surely(lambda: self._log.want_cancel(stored.saga.id, wish, seen=as_seen))

    async def _operate(
        self,
        stored: StoredSaga,
        state: SagaState,
        what: EventType,
        action: OperatorAction,
        *,
        step: str | None = None,
    ) -> None:
        """Store the action, and have the saga gone on with."""
        event = asked(state, what, action, self._now(), step=step)
        status = apply(state, event).status
        try:
            await _surely(
                lambda: self._log.operate(stored.saga.id, epoch=stored.epoch, event=event, status=status)
            )
        except SagaMoved:
            if not await self._stands(stored.saga.id, action):
                raise
        for observer in self._observers:
            with contextlib.suppress(Exception):
                observer(stored.saga.id, event)
        self._wake()

    async def _stands(self, saga_id: str, action: OperatorAction) -> bool:
        """Whether the saga was moved by this very action, whose answer was lost."""
        try:
            stored = await load(self._log, saga_id)
        except LogUnavailable as error:
            raise LogUnavailable(str(error), stored=None) from error
        if stored is None:
            return False
        trail = stored.trail if isinstance(stored, UnreadableSaga) else stored.events
        return any(event.data.get("action") == action.id for event in trail)


async def _surely(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again what nobody can tell whether it was stored: it is stored once. Raise `LogUnavailable`."""
    doubt = False
    for _ in range(TRIES):
        try:
            return await ask()
        except LogUnavailable as error:
            doubt = doubt or error.stored is not False
            if not doubt:
                raise
    raise LogUnavailable("The saga log did not say whether it was stored.", stored=None)


def _blocks(stored: StoredSaga, state: SagaState) -> str:
    """Return what blocks the saga, as a sentence."""
    attention = attention_of(state, stored.events[-1])
    return attention.message if attention else ""


def _check_seen(state: SagaState, seen: Collection[int] | None) -> None:
    if seen is not None and state.seq not in seen:
        raise SagaMoved
