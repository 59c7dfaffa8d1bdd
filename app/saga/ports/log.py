"""The saga log: the port to whatever remembers. One contract suite holds for every implementation.

    replica A  append(epoch 1, seq 4) ───────────────▶ stored
    replica A  stops (SIGSTOP), its lease lapses
    replica B  claim ──▶ epoch 2, seq 5 saga_recovered
    replica A  wakes, append(epoch 1, seq 5) ────────▶ SagaFenced: it stops, nothing changed

Fencing (Kleppmann, "How to do distributed locking", 2016): an append carries the epoch under which
its writer owns the saga and the sequence numbers that it expects to be free, and both are checked
in the transaction that stores it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.saga.model.cached_attribute import cached_attribute
from app.saga.model.errors import LogRefused, LogUnreadable
from app.saga.model.events import EventType, SagaEvent, TrailEntry
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import FINAL, INACTIVE, SagaStatus
from app.saga.model.step import JSON, encode


@dataclass(frozen=True, kw_only=True)
class NewSaga:
    """What a saga is, from its start on and for ever.

    `input` is a JSON object; its members are the first of the context. Within a `caller`, an
    `idempotency_key` belongs to one saga, and an `order_id` to one that is not compensated.
    `fingerprint` tells whether a repeated key came with the same request.
    """

    id: str
    definition: str
    version: int
    input: dict[str, JSON] = field(default_factory=dict)
    caller: str = ""
    idempotency_key: str | None = None
    fingerprint: str | None = None
    order_id: str | None = None
    customer_id: str | None = None
    request_id: str | None = None

    @cached_attribute
    def text(self) -> str:
        """The input as JSON text; raise `LogRefused` where it isn't JSON."""
        return encode(self.input)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSaga:
    """A saga with its log, as read. `epoch` is its current owner's.

    `lease_expires_at` says when the owner's lease ends, where it has an owner. `cancel` is a person's request
    to stop it, which its owner heeds where it still can.
    """

    saga: NewSaga
    status: SagaStatus
    epoch: int
    events: tuple[SagaEvent, ...]
    lease_expires_at: datetime | None = None
    cancel_request: OperatorAction | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableSaga:
    """A saga as read, whose log has what this release can't understand; `reason` says what, in a sentence.

    What its row says holds all the same. `trail` has the log's lines as far as they can be shown.
    """

    saga: NewSaga
    status: SagaStatus
    reason: str
    trail: tuple[TrailEntry, ...]
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None


ReadSaga = StoredSaga | UnreadableSaga
"""A saga as a list finds it: one that can't be understood never hides the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """The saga is durable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IdempotencyConflict:
    """Another saga has this idempotency key; nothing was stored."""

    saga_id: str
    fingerprint: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BusinessKeyConflict:
    """Another saga that is not compensated has this order; nothing was stored."""

    saga_id: str
    status: SagaStatus


StartResult = Stored | IdempotencyConflict | BusinessKeyConflict


@dataclass(frozen=True, kw_only=True, slots=True)
class RowChange:
    """What an append changes about the saga itself, in the same transaction as its events.

    `park` gives the saga back: nobody owns it until `next_action_at`, when any replica may claim it; or at
    once, if it is `cancellable` and its cancellation has been requested.
    """

    status: SagaStatus
    next_action_at: datetime | None
    finished_at: datetime | None = None
    park: bool = False
    cancellable: bool = False


def check_start(saga: NewSaga, event: SagaEvent) -> None:
    """Raise `LogRefused` for a start that no log takes."""
    for text in (
        saga.caller,
        saga.definition,
        saga.idempotency_key,
        saga.fingerprint,
        saga.order_id,
        saga.customer_id,
        saga.request_id,
        event.step,
    ):
        _check_text(text)
    if event.seq != 1:
        raise LogRefused("A saga's first event has seq 1.")
    _ = saga.text, event.text


def check_operate(event: SagaEvent, status: SagaStatus) -> None:
    """Raise `LogRefused` for an operator's action that no log accepts."""
    if status in INACTIVE:
        raise LogRefused("An operator's action makes a saga continue.")
    _check_text(event.step)
    _ = event.text


def check_append(events: Sequence[SagaEvent], change: RowChange | None) -> None:
    """Raise `LogRefused` for an append that no log accepts."""
    if not events or [e.seq for e in events] != list(range(events[0].seq, events[0].seq + len(events))):
        raise LogRefused("Give at least one event, with consecutive seq.")
    if len(events) > 1 and change is None:
        raise LogRefused("Several events are one append only together with a change of the saga.")
    if change is not None and (change.status in FINAL) is not (change.finished_at is not None):
        raise LogRefused("A saga has a time of its end exactly when its status is final.")
    if change is not None and (change.status in INACTIVE) is not (change.next_action_at is None):
        raise LogRefused("A saga has a next action exactly while it isn't inactive.")
    for event in events:
        _check_text(event.step)
        _ = event.text


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def _check_text(text: str | None) -> None:
    if text is not None and _UNSTORABLE.search(text):
        raise LogRefused("A text with NUL or a lone surrogate can't be stored.")


def recovered(seq: int, last_at: datetime, now: datetime) -> SagaEvent:
    """Return the event that a takeover writes, as number `seq`, after an event at `last_at`."""
    return SagaEvent(seq=seq, at=max(now, last_at), type=EventType.SAGA_RECOVERED)


def takeovers(events: Sequence[SagaEvent]) -> int:
    """Return how often the saga was taken over since its last progress."""
    last = itertools.takewhile(lambda event: event.type is EventType.SAGA_RECOVERED, reversed(events))
    return sum(1 for _ in last)


SUSPECT_AFTER = 2
ALONE_AFTER = 3
SUSPECTS_TOGETHER = 10


def taken_together(due: Sequence[StoredSaga]) -> list[StoredSaga]:
    """Return which of the sagas that are due one claim takes, in their order.

    What has made no progress in several takeovers may be what takes its processes down. Such sagas
    are left for last, then taken ten at a time and at last alone, so that a poisonous one uses up its
    own budget of takeovers and not its neighbours'.
    """
    suspicion = {one.saga.id: takeovers(one.events) for one in due}
    trusted = [one for one in due if suspicion[one.saga.id] < SUSPECT_AFTER]
    if trusted:
        return trusted
    suspects = [one for one in due if suspicion[one.saga.id] < ALONE_AFTER]
    return suspects[:SUSPECTS_TOGETHER] or list(due[:1])


LOST = "lost"
"""The owner of a saga that was abandoned: nobody's name, so never alive."""


class SagaLog(Protocol):
    """What the core asks of storage. Every method may raise `LogUnavailable`."""

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        """Store a saga with its first event, owned by `owner` under epoch 1, or say whose it is already.

        Raise `LogRefused` for what can never be stored.
        """

    async def append(
        self,
        saga_id: str,
        *,
        epoch: int,
        events: Sequence[SagaEvent],
        change: RowChange | None = None,
    ) -> None:
        """Store events with consecutive `seq`, all or none; return once they are durable.

        Raise `SagaFenced` where `epoch` is not the saga's any more or a `seq` is taken by another
        owner, `LogRefused` for what can never be stored. More than one event goes only with a
        `change`. A cancelled caller doesn't cancel the write, and the same append twice is stored once.
        """

    async def load(self, saga_id: str) -> StoredSaga | None:
        """Return a saga as it is durable now, or None where there is none.

        Raise `LogUnreadable`, which has what can be shown of it, where its log can't be understood here.
        """

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        """Take over at most `limit` unfinished sagas that are due and have no living owner, oldest first.

        Of those, `taken_together` says which go in one claim. `LogUnavailable` with `stored` None says that they may have been taken over all the same. Each
        gets a new epoch; one whose owner died also gets a `saga_recovered` event, in the same
        transaction.
        """

    async def request_cancel(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        """Store a request to cancel a running saga, for its owner; a saga without an owner becomes due at once.

        Return the request that is stored, which is the first; None if the saga isn't running. Raise `SagaMoved`
        if `seen` isn't the number of its last event. `LogUnavailable` with `stored` None says that it may be stored
        all the same; the same request twice is stored once.
        """

    async def pending_cancellations(self, owner: str) -> dict[str, OperatorAction]:
        """Return the cancellation requests for the running sagas of this owner, by saga."""

    async def operate(self, saga_id: str, *, epoch: int, event: SagaEvent, status: SagaStatus) -> None:
        """Store a person's action on a saga that needs attention, which is then unfinished and due at once.

        It gets a new epoch, and belongs to nobody until it is claimed. Raise `SagaMoved` where `epoch` or
        the event's `seq` isn't the saga's next any more, or it doesn't need attention: somebody else was
        first, or this very action has been stored already, which its id tells.
        """

    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        """Give up a saga that this owner can't go on with; from `until` on it is claimed as a dead owner's."""

    async def renew(self, owner: str, *, seconds: float) -> datetime:
        """Make the owner's lease last `seconds` from now, on the log's own clock; return that clock's time.

        Raise `LeaseLost` where it had lapsed already: others may own its sagas by now.
        """

    async def release(self, owner: str) -> None:
        """End the owner's lease now, so that others take its sagas over."""


async def load(log: SagaLog, saga_id: str) -> ReadSaga | None:
    """Return a saga whether it can be understood or not, None where there is none. Raise `LogUnavailable`."""
    try:
        return await log.load(saga_id)
    except LogUnreadable as error:
        if error.saga is None:
            raise
        return error.saga
