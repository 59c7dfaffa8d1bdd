"""The one database of all replicas: the saga log's server side, each call one transaction.

The same rules as `app.saga.ports.memory_log.MemoryLog`, to which `test_database.py` compares it, without the
copying: what is stored here is frozen. `crash` is a loss of power, which takes nothing that was
committed, unless `forgets` says how many of the last commits such a database loses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.saga.model.errors import LeaseLost, SagaFenced, SagaMoved
from app.saga.model.events import SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import INACTIVE, SagaStatus
from app.saga.ports.log import (
    BusinessKeyConflict,
    IdempotencyConflict,
    NewSaga,
    Stored,
    StoredSaga,
)
from app.saga.ports.takeover import LOST, recovered, taken_together
from app.storage.journal.entries import AppendEntry, Entry, Result, StartEntry


@dataclass(kw_only=True, slots=True)
class Row:
    """A saga as the database holds it; `events` are pairs of the writer's epoch and the event."""

    saga: NewSaga
    owner: str | None
    next_action_at: datetime | None
    status: SagaStatus = SagaStatus.RUNNING
    epoch: int = 1
    cancel: OperatorAction | None = None
    events: list[tuple[int, SagaEvent]] = field(default_factory=list)


class Database:
    """Sagas and leases, on a clock of its own."""

    forgets = 0

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.rows: dict[str, Row] = {}
        self.leases: dict[str, datetime] = {}
        self.takeovers: list[tuple[str, str]] = []
        self._now = now
        self._before: list[dict[str, Row]] = []

    def write(self, batch: Sequence[Entry]) -> list[Result | None]:
        """Store a journal's batch."""
        if self.forgets:
            self._remember()
        return [self.start(entry) if isinstance(entry, StartEntry) else self.append(entry) for entry in batch]

    def start(self, entry: StartEntry) -> Result:
        """Store a saga, or say whose its key or order is."""
        saga = entry.saga
        if saga.id in self.rows:
            return Stored()
        for row in self.rows.values():
            known = row.saga
            if saga.idempotency_key is not None and (known.caller, known.idempotency_key) == (
                saga.caller,
                saga.idempotency_key,
            ):
                return IdempotencyConflict(saga_id=known.id, fingerprint=known.fingerprint)
        for row in self.rows.values():
            known = row.saga
            if (
                saga.order_id is not None
                and (known.caller, known.order_id) == (saga.caller, saga.order_id)
                and row.status is not SagaStatus.COMPENSATED
            ):
                return BusinessKeyConflict(saga_id=known.id, status=row.status)
        self.rows[saga.id] = Row(
            saga=saga, owner=entry.owner, next_action_at=entry.event.at, events=[(1, entry.event)]
        )
        return Stored()

    def append(self, entry: AppendEntry) -> Result:
        """Store events where epoch and seq allow it; written again, they count as written."""
        row = self.rows.get(entry.saga_id)
        if row is None:
            return SagaFenced()
        first, count = entry.events[0].seq, len(entry.events)
        standing = row.events[first - 1 : first - 1 + count]
        if len(standing) == count and all(epoch == entry.epoch for epoch, _ in standing):
            return Stored()
        if not self.may_append(row, entry):
            return SagaFenced()
        self._store(row, entry)
        return Stored()

    def may_append(self, row: Row, entry: AppendEntry) -> bool:
        """The fence."""
        return row.epoch == entry.epoch and entry.events[0].seq == len(row.events) + 1

    @staticmethod
    def _store(row: Row, entry: AppendEntry) -> None:
        row.events.extend((entry.epoch, event) for event in entry.events)
        if (change := entry.change) is not None:
            row.status = change.status
            row.next_action_at = change.next_action_at
            if change.cancellable and row.cancel is not None:
                row.next_action_at = entry.events[-1].at
            if change.park or change.status in INACTIVE:
                row.owner = None

    def load(self, saga_id: str) -> StoredSaga | None:
        """Return a saga."""
        row = self.rows.get(saga_id)
        return None if row is None else self._stored(row)

    def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int, now: datetime | None = None
    ) -> list[StoredSaga]:
        """Take over what is due and has no living owner."""
        now = now or self._now()
        due = [
            row
            for row in self.rows.values()
            if row.next_action_at is not None
            and row.next_action_at <= now
            and (row.saga.definition, row.saga.version) in definitions
            and (row.owner is None or self.leases.get(row.owner, now) <= now)
        ]
        if not due:
            return []
        due.sort(key=lambda row: row.next_action_at or now)
        together = {one.saga.id for one in taken_together([self._stored(row) for row in due[:limit]])}
        due = [row for row in due if row.saga.id in together]
        for row in due:
            row.epoch += 1
            if row.owner is not None:
                event = recovered(len(row.events) + 1, row.events[-1][1].at, now)
                row.events.append((row.epoch, event))
                self.takeovers.append((row.saga.id, row.owner))
            row.owner = owner
        return [self._stored(row) for row in due]

    def request_cancel(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        """Keep a wish to cancel; the first stands."""
        row = self.rows.get(saga_id)
        if row is None or row.status is not SagaStatus.RUNNING:
            return None
        if row.cancel is not None and row.cancel.id == request.id:
            return row.cancel
        if seen is not None and len(row.events) != seen:
            raise SagaMoved
        if row.cancel is None:
            row.cancel = request
            if row.owner is None:
                row.next_action_at = self._now()
        return row.cancel

    def pending_cancellations(self, owner: str) -> dict[str, OperatorAction]:
        """Return the wishes that wait for an owner."""
        return {
            saga_id: row.cancel
            for saga_id, row in self.rows.items()
            if row.cancel is not None and row.owner == owner and row.status is SagaStatus.RUNNING
        }

    def operate(self, saga_id: str, *, epoch: int, event: SagaEvent, status: SagaStatus) -> None:
        """Store a person's action on a saga that needs attention."""
        row = self.rows.get(saga_id)
        if (
            row is None
            or row.epoch != epoch
            or row.status is not SagaStatus.NEEDS_ATTENTION
            or event.seq != len(row.events) + 1
        ):
            raise SagaMoved
        row.epoch += 1
        row.status, row.owner, row.cancel = status, None, None
        row.next_action_at = self._now()
        row.events.append((row.epoch, event))

    def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        """Leave a saga to others from then on."""
        row = self.rows.get(saga_id)
        if row is not None and row.epoch == epoch and row.status not in INACTIVE:
            row.owner, row.next_action_at = LOST, until

    def renew(self, owner: str, *, seconds: float, now: datetime | None = None) -> datetime:
        """Make a lease last from now."""
        now = now or self._now()
        if self.leases.get(owner, now) < now:
            raise LeaseLost
        self.leases[owner] = now + timedelta(seconds=seconds)
        return now

    def release(self, owner: str) -> None:
        """End a lease."""
        self.leases.pop(owner, None)

    def crash(self) -> None:
        """Lose the power, and with it what was only promised."""
        if self.forgets and self._before:
            self.rows = self._before[-min(self.forgets, len(self._before))]
            self._before.clear()

    def _remember(self) -> None:
        self._before.append(
            {saga_id: replace(row, events=list(row.events)) for saga_id, row in self.rows.items()}
        )
        del self._before[: -self.forgets]

    def _stored(self, row: Row) -> StoredSaga:
        return StoredSaga(
            saga=row.saga,
            status=row.status,
            epoch=row.epoch,
            events=tuple(event for _, event in row.events),
            lease_expires_at=self.leases.get(row.owner) if row.owner else None,
            cancel_request=row.cancel,
        )
