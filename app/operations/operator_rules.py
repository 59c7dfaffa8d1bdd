"""What an operator may do about a saga: one table of cancel, retry and resolve, and the errors that refuse them.

OperatorError
├── NotAllowed, UnknownSaga, SagaFinished                any action
├── PastPivot, NotCancellable                            cancel
└── NoAttentionNeeded, UnknownStep, StepNotStuck         retry and resolve
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from app.saga.model.attention import attention_of
from app.saga.model.errors import IllegalEvent, SagaError
from app.saga.model.events import EventType
from app.saga.model.state import SagaState
from app.saga.model.status import SagaStatus
from app.saga.ports.log import StoredSaga


class OperatorError(SagaError):
    """The action was refused, and nothing was changed.

    `code` is the API's stable name for it. `blocks` is what the saga needs attention for, as a sentence; empty where
    it doesn't.
    """

    code: ClassVar[str]

    def __init__(self, blocks: str = "") -> None:
        super().__init__()
        self.blocks = blocks


class NotAllowed(OperatorError):
    """This principal doesn't have the scope to operate on sagas."""

    code = "forbidden"


class UnknownSaga(OperatorError):
    """There is no such saga, or it is another tenant's."""

    code = "not_found"


class SagaFinished(OperatorError):
    """The saga has ended: nothing can be done about it any more."""

    code = "saga_finished"


class PastPivot(OperatorError):
    """The saga is past its pivot: it can only go forward."""

    code = "past_pivot"


class NotCancellable(OperatorError):
    """The saga got stuck while it was compensating: retry it, or resolve the step that it can't compensate."""

    code = "not_cancellable"


class NoAttentionNeeded(OperatorError):
    """The saga doesn't need attention: it is being worked on."""

    code = "no_attention_needed"


class UnknownStep(OperatorError):
    """The saga has no step of that name."""

    code = "unknown_step"


class StepNotStuck(OperatorError):
    """The saga isn't stuck at that step: there is nothing to resolve."""

    code = "step_not_stuck"


class OperatorVerb(StrEnum):
    """What an operator can do: the last part of the URL, the page's form, and the command."""

    CANCEL = "cancel"  # stop going forward, and compensate what was done
    RETRY = "retry"  # try again what failed, with new attempts
    RESOLVE = "resolve"  # a step was settled by hand, outside: continue with the rest


Check = Callable[[StoredSaga, SagaState, str | None], None]
"""Raises an `OperatorError` where the saga, or the named step of it, doesn't allow the action."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionRule:
    """One row of the table.

    `event` is what the trail records. `check` says when the action is allowed; a saga that has ended allows none.
    `is_done` says that nothing is left to do, so that repeating the action is no error. `precondition_first` says
    whether a stale If-Match is reported before `check` is made. `refusals` are the errors that `check` may raise.
    """

    event: EventType
    check: Check
    refusals: tuple[type[OperatorError], ...]
    is_done: Callable[[SagaState], bool] = lambda _state: False
    precondition_first: bool = True
    names_step: bool = False


def blocks(stored: StoredSaga, state: SagaState) -> str:
    """Return what the saga needs attention for, as a sentence; empty where it doesn't."""
    attention = attention_of(state, stored.events[-1])
    return attention.message if attention else ""


def _check_cancel(stored: StoredSaga, state: SagaState, _step: str | None) -> None:
    if state.past_pivot:
        raise PastPivot
    if state.status is SagaStatus.NEEDS_ATTENTION and not state.cancellable:
        raise NotCancellable(blocks(stored, state))


def _check_retry(_stored: StoredSaga, state: SagaState, _step: str | None) -> None:
    if state.status is not SagaStatus.NEEDS_ATTENTION:
        raise NoAttentionNeeded


def _check_resolve(stored: StoredSaga, state: SagaState, step: str | None) -> None:
    _check_retry(stored, state, step)
    try:
        stuck = step is not None and state.resolvable(step)
    except IllegalEvent:
        raise UnknownStep from None
    if not stuck:
        raise StepNotStuck(blocks(stored, state))


RULES: Mapping[OperatorVerb, ActionRule] = {
    OperatorVerb.CANCEL: ActionRule(
        event=EventType.CANCEL_REQUESTED,
        check=_check_cancel,
        refusals=(PastPivot, NotCancellable),
        is_done=lambda state: state.cancelled_by is not None or state.status is SagaStatus.COMPENSATING,
        precondition_first=False,
    ),
    OperatorVerb.RETRY: ActionRule(
        event=EventType.RETRY_REQUESTED, check=_check_retry, refusals=(NoAttentionNeeded,)
    ),
    OperatorVerb.RESOLVE: ActionRule(
        event=EventType.STEP_RESOLVED,
        check=_check_resolve,
        refusals=(NoAttentionNeeded, StepNotStuck),
        names_step=True,
    ),
}
