"""A saga as it is shown: what it is, its state, and its trail. Made from what is stored, or from a running one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.attention import Attention, StepAction, attention_of
from app.saga.model.definition import Definitions
from app.saga.model.errors import DefinitionUnknown, IllegalEvent
from app.saga.model.events import EventType, TrailEntry
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import SagaState
from app.saga.model.status import FINAL, INACTIVE, SagaStatus
from app.saga.ports.log import NewSaga, ReadSaga, StoredSaga, UnreadableSaga
from app.saga.rules.fold import fold
from app.saga.rules.inferred_state import UNFOLDABLE, infer_state


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaView:
    """A saga as it is shown.

    `cancel` is an operator's cancellation, carried out or still waiting for an action in progress. `unreadable` says,
    in a sentence, why this release can't continue or understand it; its state then has what is certain. `stamp`, where
    there is one, is of a finished saga's row: read again with an equal one, it is shown the same.
    """

    saga: NewSaga
    state: SagaState
    events: tuple[TrailEntry, ...]
    next_action_at: datetime | None
    cancel: OperatorAction | None = None
    unreadable: str | None = None
    stamp: object = field(default=None, compare=False, repr=False)

    @property
    def created_at(self) -> datetime:
        """When it was started."""
        return self.state.started_at or self.events[0].at

    @property
    def inactive(self) -> bool:
        """Whether no process works on it: it has ended or needs an operator."""
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
            message=self.unreadable or "It can't continue.",
            since=self.state.updated_at or self.created_at,
        )


def view_of(read: ReadSaga, definitions: Definitions) -> SagaView:
    """Return what can be shown of a saga that was read, whatever its log holds."""
    if isinstance(read, UnreadableSaga):
        return _unreadable(read)
    state, unreadable = _state(read, definitions)
    if state is None:
        return _unreadable(_damaged(read, unreadable or ""))
    stamp = read.stamp if state.status in FINAL and read.status is state.status else None
    view = _view(read.saga, state, read.events, read.lease_expires_at, read.cancel_request, stamp)
    return view if unreadable is None else replace(view, unreadable=unreadable, stamp=None)


def view_as_of(read: ReadSaga, seq: int, definitions: Definitions) -> SagaView:
    """Return a saga as it was at an event that made it inactive: the same view at any later time."""
    if isinstance(read, UnreadableSaga):
        return _unreadable(_until(read, seq))
    events = tuple(event for event in read.events if event.seq <= seq)
    return view_of(replace(read, events=events, lease_expires_at=None), definitions)


def view_of_running(run: SagaInstance, *, lease_until: datetime | None) -> SagaView:
    """Return a saga that this process runs, as its memory has it."""
    return _view(run.saga, run.state, tuple(run.events), lease_until, run.cancel_request)


def _state(stored: StoredSaga, definitions: Definitions) -> tuple[SagaState | None, str | None]:
    """Return a saga's state, None if it can't be read, and why this release can't continue the saga.

    A saga that has ended needs no definition: its log is enough.
    """
    name, version = stored.saga.definition, stored.saga.version
    try:
        return fold(definitions.get(name, version), stored.events), None
    except DefinitionUnknown:
        reason = f"This release has no definition of {name!r} version {version}: another one continues it."
    except IllegalEvent as error:
        reason = f"Its trail doesn't fit the definition {name!r} version {version} of this release: {error}"
    except UNFOLDABLE:
        return None, "An event of its trail holds what this release doesn't know."
    try:
        state = infer_state(stored.events)
    except (IllegalEvent, *UNFOLDABLE) as error:
        return None, str(error) if isinstance(error, IllegalEvent) else reason
    return state, None if state.status in FINAL else reason


def _view(
    saga: NewSaga,
    state: SagaState,
    events: tuple[TrailEntry, ...],
    lease_until: datetime | None,
    cancel: OperatorAction | None,
    stamp: object = None,
) -> SagaView:
    """While an action is in progress, the next one is due by the end of the lease at the latest."""
    due = None
    if state.status not in INACTIVE:
        due = state.next_action_at or lease_until or state.updated_at
    pending = state.cancelled_by or (cancel if state.cancellable else None)
    return SagaView(saga=saga, state=state, events=events, next_action_at=due, cancel=pending, stamp=stamp)


def _damaged(stored: StoredSaga, reason: str) -> UnreadableSaga:
    """Return a saga that was read, and whose trail makes no sense."""
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
    """Return an unreadable saga as it was at an event that made it inactive."""
    trail = tuple(one for one in read.trail if one.seq <= seq)
    last = trail[-1] if trail else None
    status = _STATUS_AFTER.get(last.type) if last is not None else None
    if last is None or status is None:
        return read
    finished_at = last.at if status in FINAL else None
    return replace(read, trail=trail, status=status, updated_at=last.at, finished_at=finished_at)


def _unreadable(read: UnreadableSaga) -> SagaView:
    """Return what can be shown of a saga that can't be understood: its row and its raw trail."""
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


_STATUS_AFTER: Mapping[str, SagaStatus] = {
    EventType.SAGA_COMPLETED: SagaStatus.COMPLETED,
    EventType.SAGA_COMPENSATED: SagaStatus.COMPENSATED,
    EventType.SAGA_NEEDS_ATTENTION: SagaStatus.NEEDS_ATTENTION,
}
