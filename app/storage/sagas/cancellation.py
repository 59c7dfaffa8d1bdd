"""Requests to cancel a saga: stored with its row until its owner acts on them."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import func, select, text, update

from app.saga.model.errors import SagaMoved
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.model.step import encode
from app.saga.ports.changes import Change, ChangeKind
from app.storage.engine.changes import LocalChanges
from app.storage.engine.log_clock import LogClock
from app.storage.engine.tables import CANCEL_WANTED, saga, saga_log
from app.storage.engine.transactions import Transactions
from app.storage.engine.translation import repeats
from app.storage.sagas.saga_rows import DAMAGED

_logger = logging.getLogger(__name__)


class CancellationRequests:
    """The column `saga.cancel`. Every method may raise `LogUnavailable`."""

    def __init__(self, transactions: Transactions, clock: LogClock, changes: LocalChanges) -> None:
        self._transactions = transactions
        self._clock = clock
        self._changes = changes

    @repeats
    async def request(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        """Store a request to cancel a running saga; return the one that is stored, None where the saga isn't running.

        Raise `SagaMoved` where the last event isn't number `seen`.
        """
        encode(request.data())
        async with self._transactions.writing() as connection:
            query = select(saga.c.status, saga.c.owner, saga.c.cancel).where(saga.c.id == saga_id)
            row = (await connection.execute(query.with_for_update())).first()
            if row is None or row.status != SagaStatus.RUNNING.value:
                return None
            stored = None if row.cancel is None else OperatorAction.read(row.cancel)
            if stored is not None and stored.id == request.id:
                return stored  # a repeat of the same request
            head = select(func.max(saga_log.c.seq)).where(saga_log.c.saga_id == saga_id)
            if seen is not None and (await connection.execute(head)).scalar_one() != seen:
                raise SagaMoved
            if stored is not None:
                return stored
            values: dict[str, Any] = {"cancel": request.stored()}
            if row.owner is None:
                values["next_action_at"] = await self._clock.now(connection)
            await connection.execute(update(saga).where(saga.c.id == saga_id).values(values))
            kind = ChangeKind.CLAIMABLE if row.owner is None else ChangeKind.CANCELLATIONS
            await self._changes.announce(connection, kind)
        self._changes.report(Change(kind=kind, saga_ids=frozenset({saga_id})))
        return request

    async def pending(self, owner: str) -> dict[str, OperatorAction]:
        """Return the requests to cancel an owner's sagas, by the saga's id."""
        query = select(saga.c.id, saga.c.cancel).where(saga.c.owner == owner, text(CANCEL_WANTED))
        async with self._transactions.reading() as connection:
            rows = (await connection.execute(query)).all()
        requests: dict[str, OperatorAction] = {}
        for row in rows:
            try:
                requests[row.id] = OperatorAction.read(row.cancel)
            except DAMAGED:  # damaged, or from another release: the other requests are returned
                _logger.warning("cancellation_request_unreadable", extra={"saga": row.id})
        return requests
