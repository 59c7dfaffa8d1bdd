"""The saga log: the port to where sagas are stored. Every implementation passes one contract suite.

    replica A  append(epoch 1, seq 4) ───────────────▶ stored
    replica A  stops (SIGSTOP), its lease lapses
    replica B  claim ──▶ epoch 2, seq 5 saga_recovered
    replica A  wakes, append(epoch 1, seq 5) ────────▶ SagaFenced: it stops, nothing changed

Fencing (Kleppmann, "How to do distributed locking", 2016): an append carries the epoch under which its writer owns
the saga, and the sequence numbers that it expects to be free. The transaction that stores it checks both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.saga.model.cached_attribute import cached_attribute
from app.saga.model.errors import LogUnreadable
from app.saga.model.events import SagaEvent, TrailEntry
from app.saga.model.operator_action import OperatorAction
from app.saga.model.record import record
from app.saga.model.status import SagaStatus
from app.saga.model.step import JSON, Encode, encode


@record(frozen=True, kw_only=True)
class NewSaga:
    """What a saga is from its start on, and never changes.

    `input` is a JSON object, whose members the context starts with. Each `idempotency_key` of a `caller` belongs to one
    saga, and each `order_id` to one saga that is not compensated. `fingerprint` shows whether a repeated key came with
    the same request.
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
        """The input as JSON text. Raise `LogRefused` if it isn't JSON."""
        return self.encode()

    def encode(self, encode: Encode = encode) -> str:
        """Make `text` once, by this encoder."""
        text = self.__dict__["text"] = encode(self.input)
        return text


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSaga:
    """A saga with its log, as read. `epoch` is its current owner's.

    `lease_expires_at` says when the owner's lease ends, if it has an owner. `cancel_request` is an operator's request
    to cancel it, which its owner follows while the saga can be cancelled. `stamp` is what a log has that tells this
    version of the saga's row from any other; None if it has no such thing.
    """

    saga: NewSaga
    status: SagaStatus
    epoch: int
    events: tuple[SagaEvent, ...]
    lease_expires_at: datetime | None = None
    cancel_request: OperatorAction | None = None
    stamp: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableSaga:
    """A saga as read, whose log this release can't read. `reason` says why, in a sentence.

    The members that its row has are right nevertheless. `trail` has the log's lines as far as they can be shown.
    """

    saga: NewSaga
    status: SagaStatus
    reason: str
    trail: tuple[TrailEntry, ...]
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None


ReadSaga = StoredSaga | UnreadableSaga
"""A saga as a list returns it: one that can't be read doesn't hide the others."""


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


@record(frozen=True, kw_only=True, slots=True)
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


class SagaLog(Protocol):
    """What the core needs of storage. Every method may raise `LogUnavailable`."""

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        """Store a saga with its first event, owned by `owner` under epoch 1, or return the saga that it conflicts with.

        Raise `LogRefused` if it can never be stored.
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

        Raise `SagaFenced` if `epoch` isn't the saga's any more, or another owner has stored a `seq`; raise
        `LogRefused` if they can never be stored. Several events need a `change`. Cancelling the caller doesn't cancel
        the write. The same append twice is stored once.
        """

    async def load(self, saga_id: str) -> StoredSaga | None:
        """Return a saga as it is stored now, or None if there is none.

        Raise `LogUnreadable`, which has what can be shown of the saga, if this release can't read its log.
        """

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        """Take over at most `limit` unfinished sagas that are due and have no living owner, oldest first.

        `taken_together` says which of those one claim takes. Each gets a new epoch; one whose owner died also gets a
        `saga_recovered` event, in the same transaction. `LogUnavailable` with `stored` None says that they may have
        been taken over nevertheless.
        """

    async def request_cancel(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        """Store a request to cancel a running saga, for its owner; a saga without an owner becomes due at once.

        Return the request that is stored, which is the first; None if the saga isn't running. Raise `SagaMoved`
        if `seen` isn't the number of its last event. `LogUnavailable` with `stored` None says that it may be stored
        nevertheless. The same request twice is stored once.
        """

    async def pending_cancellations(self, owner: str) -> dict[str, OperatorAction]:
        """Return the cancellation requests for the running sagas of this owner, by saga."""

    async def operate(self, saga_id: str, *, epoch: int, event: SagaEvent, status: SagaStatus) -> None:
        """Store an operator's action on a saga that needs attention. The saga is then unfinished and due at once.

        It gets a new epoch, and has no owner until it is claimed. Raise `SagaMoved` if `epoch` isn't the saga's or the
        event's `seq` isn't its next any more, or if it doesn't need attention. Then another action came first, or this
        one is stored already: compare their ids.
        """

    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        """Give back a saga that this owner can't continue. From `until` on it is claimed as a dead owner's."""

    async def renew(self, owner: str, *, seconds: float) -> datetime:
        """Make the owner's lease last `seconds` from now, on the log's own clock. Return that clock's time.

        Raise `LeaseLost` if it has lapsed: others may own its sagas by now.
        """

    async def release(self, owner: str) -> None:
        """End the owner's lease now, so that others take its sagas over."""


async def load(log: SagaLog, saga_id: str) -> ReadSaga | None:
    """Return a saga, readable or not, or None if there is none. Raise `LogUnavailable`."""
    try:
        return await log.load(saga_id)
    except LogUnreadable as error:
        if error.saga is None:
            raise
        return error.saga
