"""An operator's actions on a saga: cancel, retry and resolve, by the rules of `operator_rules`.

    cancel    of a saga that is being worked on: a request on its row ──▶ its owner, at any replica, carries it out
    retry     ┐ of one that needs attention, which no process owns: an event under a new epoch ──▶ due at once,
    resolve   ┘ (and cancel) for whichever replica claims it

Of two operators at once, the second finds that the epoch has changed: `SagaMoved`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import TypeVar

from app.access.principal import Principal
from app.access.scopes import Scope
from app.operations.operator_rules import RULES, NotAllowed, OperatorVerb, SagaFinished, UnknownSaga
from app.saga.engine.runner import SagaRunner
from app.saga.model.definition import Definitions
from app.saga.model.errors import DefinitionUnknown, IllegalEvent, LogUnavailable, LogUnreadable, SagaMoved
from app.saga.model.events import Observer, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import SagaState
from app.saga.model.status import FINAL, SagaStatus
from app.saga.ports.log import SagaLog, StoredSaga, UnreadableSaga, load
from app.saga.rules.fold import apply, fold
from app.saga.rules.inferred_state import UNFOLDABLE
from app.saga.rules.next_event import operator_event

T = TypeVar("T")

TRIES = 3
"""How often an action is sent to a log that doesn't say whether it stored it."""


class Operator:
    """Acts on sagas for a principal; the trail records each action, with its subject and reason."""

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
        """`wake` makes recovery claim what is due at once."""
        self._runner = runner
        self._log = log
        self._definitions = definitions
        self._now = now
        self._new_id = new_id
        self._wake = wake
        self._observers = observers

    async def act(
        self,
        verb: OperatorVerb,
        saga_id: str,
        *,
        caller: Principal,
        reason: str,
        step: str | None = None,
        reference: str | None = None,
        seen: Collection[int] | None = None,
    ) -> None:
        """Carry out an action, and return once it is durable; the saga continues by itself.

        `step` is the one to resolve, `reference` where that can be looked up. `seen` are the lengths of the trail that
        the operator may have seen, None for any. Repeating a cancellation does nothing more.

        Raise an `OperatorError` where the rules refuse it; `SagaMoved` where the saga isn't as it was seen, or another
        operator was first; `LogUnavailable`, with `stored` None if it is unknown whether the action was stored.
        """
        rule = RULES[verb]
        action = self._action(caller, reason, reference)
        for _ in range(TRIES):
            stored, state = await self._load(saga_id, caller)
            if state.status in FINAL:
                raise SagaFinished
            if rule.is_done(state):
                return
            if rule.precondition_first:
                _check_seen(state, seen)
            rule.check(stored, state, step)
            if stored.cancel_request is None:  # a pending cancellation is joined, whatever was seen
                _check_seen(state, seen)
            if state.status is SagaStatus.NEEDS_ATTENTION:
                event = operator_event(
                    state, rule.event, action, self._now(), step=step if rule.names_step else None
                )
                await self._append(stored, state, event, action)
                return
            if await self._request_cancel(stored, state, action, seen):
                return
        raise SagaMoved

    def _action(self, caller: Principal, reason: str, reference: str | None) -> OperatorAction:
        if not caller.has_scope(Scope.OPERATE):
            raise NotAllowed
        return OperatorAction(
            id=self._new_id(),
            who=caller.subject or caller.tenant,
            reason=reason,
            at=self._now(),
            reference=reference,
        )

    async def _load(self, saga_id: str, caller: Principal) -> tuple[StoredSaga, SagaState]:
        """Return a saga as it is durable now.

        Raise `DefinitionUnknown` or `LogUnreadable` for one that this release can't judge.
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

    async def _request_cancel(
        self, stored: StoredSaga, state: SagaState, action: OperatorAction, seen: Collection[int] | None
    ) -> bool:
        """Store the request for the saga's owner; return False where the saga is no longer being worked on.

        An earlier request that is still pending is joined, whatever was seen: it has the effect that is wanted.
        """
        as_seen = state.seq if seen is not None and stored.cancel_request is None else None
        pending = await _certain(lambda: self._log.request_cancel(stored.saga.id, action, seen=as_seen))
        if pending is None:
            return False
        self._runner.cancel(stored.saga.id, pending)
        self._wake()
        return True

    async def _append(
        self, stored: StoredSaga, state: SagaState, event: SagaEvent, action: OperatorAction
    ) -> None:
        """Store the action's event, and have the saga claimed."""
        status = apply(state, event).status
        try:
            await _certain(
                lambda: self._log.operate(stored.saga.id, epoch=stored.epoch, event=event, status=status)
            )
        except SagaMoved:
            if not await self._is_stored(stored.saga.id, action):
                raise
        for observer in self._observers:
            with contextlib.suppress(Exception):
                observer(stored.saga.id, [event])
        self._wake()

    async def _is_stored(self, saga_id: str, action: OperatorAction) -> bool:
        """Whether it was this very action that moved the saga, and its answer was lost."""
        try:
            stored = await load(self._log, saga_id)
        except LogUnavailable as error:
            raise LogUnavailable(str(error), stored=None) from error
        if stored is None:
            return False
        trail = stored.trail if isinstance(stored, UnreadableSaga) else stored.events
        return any(event.data.get("action") == action.id for event in trail)


async def _certain(store: Callable[[], Awaitable[T]]) -> T:
    """Call again where the log doesn't say whether it stored it: it stores it once. Raise `LogUnavailable`."""
    doubt = False
    for _ in range(TRIES):
        try:
            return await store()
        except LogUnavailable as error:
            doubt = doubt or error.stored is not False
            if not doubt:
                raise
    raise LogUnavailable("The saga log did not say whether it was stored.", stored=None)


def _check_seen(state: SagaState, seen: Collection[int] | None) -> None:
    if seen is not None and state.seq not in seen:
        raise SagaMoved
