"""A saga log in memory: for tests, and for sagas that need not survive their process.

It passes the same contract suite as the databases' logs. It is in the core, not in storage, so that authors of sagas
can test them with the core alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.saga.model.errors import LeaseLost, SagaFenced, SagaMoved
from app.saga.model.events import SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import INACTIVE, SagaStatus
from app.saga.model.step import encode
from app.saga.ports.clock import Clock, SystemClock
from app.saga.ports.log import (
    BusinessKeyConflict,
    IdempotencyConflict,
    NewSaga,
    RowChange,
    StartResult,
    Stored,
    StoredSaga,
)
from app.saga.ports.log_checks import check_append, check_operate, check_start
from app.saga.ports.takeover import LOST, recovered, taken_together


@dataclass(kw_only=True, slots=True)
class _Row:
    saga: NewSaga
    owner: str | None
    next_action_at: datetime | None
    status: SagaStatus = SagaStatus.RUNNING
    epoch: int = 1
    cancel_request: OperatorAction | None = None
    events: list[tuple[int, SagaEvent]] = field(default_factory=list)


class MemoryLog:
    """Stores sagas in a dictionary. Every method is atomic, as none of them awaits."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._rows: dict[str, _Row] = {}
        self._leases: dict[str, datetime] = {}

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        check_start(saga, event)
        if saga.id in self._rows:
            return Stored()
        for row in self._rows.values():
            known = row.saga
            if saga.idempotency_key is not None and (
                known.caller,
                known.idempotency_key,
            ) == (
                saga.caller,
                saga.idempotency_key,
            ):
                return IdempotencyConflict(saga_id=known.id, fingerprint=known.fingerprint)
        for row in self._rows.values():
            known = row.saga
            if (
                saga.order_id is not None
                and (known.caller, known.order_id) == (saga.caller, saga.order_id)
                and row.status is not SagaStatus.COMPENSATED
            ):
                return BusinessKeyConflict(saga_id=known.id, status=row.status)
        self._rows[saga.id] = _Row(
            saga=copy.deepcopy(saga), owner=owner, next_action_at=event.at, events=[(1, copy.deepcopy(event))]
        )
        return Stored()

    async def append(
        self,
        saga_id: str,
        *,
        epoch: int,
        events: Sequence[SagaEvent],
        change: RowChange | None = None,
    ) -> None:
        check_append(events, change)
        row = self._rows.get(saga_id)
        if row is None:
            raise SagaFenced
        stored = {event.seq: written for written, event in row.events}
        if all(stored.get(event.seq) == epoch for event in events):
            return
        if row.epoch != epoch or events[0].seq != len(row.events) + 1:
            raise SagaFenced
        row.events.extend((epoch, copy.deepcopy(event)) for event in events)
        if change:
            row.status = change.status
            row.next_action_at = change.next_action_at
            if change.cancellable and row.cancel_request is not None:
                row.next_action_at = events[-1].at
            if change.park or change.status in INACTIVE:
                row.owner = None

    async def load(self, saga_id: str) -> StoredSaga | None:
        row = self._rows.get(saga_id)
        return None if row is None else self._stored(row)

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        now = self._clock.now()
        due = sorted(
            (
                row
                for row in self._rows.values()
                if row.next_action_at is not None
                and row.next_action_at <= now
                and (row.saga.definition, row.saga.version) in definitions
                and (row.owner is None or self._leases.get(row.owner, now) <= now)
            ),
            key=lambda row: row.next_action_at or now,
        )[:limit]
        taken = {one.saga.id for one in taken_together([self._stored(row) for row in due])}
        due = [row for row in due if row.saga.id in taken]
        for row in due:
            row.epoch += 1
            if row.owner is not None:
                row.events.append(
                    (
                        row.epoch,
                        recovered(len(row.events) + 1, row.events[-1][1].at, now),
                    )
                )
            row.owner = owner
        return [self._stored(row) for row in due]

    async def request_cancel(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        encode(request.data())
        row = self._rows.get(saga_id)
        if row is None or row.status is not SagaStatus.RUNNING:
            return None
        if row.cancel_request is not None and row.cancel_request.id == request.id:
            return row.cancel_request
        if seen is not None and len(row.events) != seen:
            raise SagaMoved
        if row.cancel_request is None:
            row.cancel_request = request
            if row.owner is None:
                row.next_action_at = self._clock.now()
        return row.cancel_request

    async def pending_cancellations(self, owner: str) -> dict[str, OperatorAction]:
        return {
            saga_id: row.cancel_request
            for saga_id, row in self._rows.items()
            if row.cancel_request is not None and row.owner == owner and row.status is SagaStatus.RUNNING
        }

    async def operate(self, saga_id: str, *, epoch: int, event: SagaEvent, status: SagaStatus) -> None:
        check_operate(event, status)
        row = self._rows.get(saga_id)
        if (
            row is None
            or row.epoch != epoch
            or row.status is not SagaStatus.NEEDS_ATTENTION
            or event.seq != len(row.events) + 1
        ):
            raise SagaMoved
        row.epoch += 1
        row.status, row.owner, row.cancel_request = status, None, None
        row.next_action_at = self._clock.now()
        row.events.append((row.epoch, copy.deepcopy(event)))

    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        row = self._rows.get(saga_id)
        if row is not None and row.epoch == epoch and row.status not in INACTIVE:
            row.owner, row.next_action_at = LOST, until

    async def renew(self, owner: str, *, seconds: float) -> datetime:
        now = self._clock.now()
        if self._leases.get(owner, now) < now:
            raise LeaseLost
        self._leases[owner] = now + timedelta(seconds=seconds)
        return now

    async def release(self, owner: str) -> None:
        self._leases.pop(owner, None)

    def _stored(self, row: _Row) -> StoredSaga:
        return StoredSaga(
            saga=copy.deepcopy(row.saga),
            status=row.status,
            epoch=row.epoch,
            events=tuple(copy.deepcopy(event) for _, event in row.events),
            lease_expires_at=self._leases.get(row.owner) if row.owner else None,
            cancel_request=row.cancel_request,
        )
