"""Claims: a replica takes over sagas that are due and have no live owner."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, insert, or_, select, text, tuple_, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.saga.model.errors import LogUnavailable
from app.saga.ports.log import StoredSaga, UnreadableSaga
from app.saga.ports.takeover import LOST, recovered, taken_together
from app.storage.engine.faults import Blame, blame_of
from app.storage.engine.log_clock import LogClock
from app.storage.engine.tables import replica, saga, saga_log
from app.storage.engine.transactions import Transactions
from app.storage.engine.translation import repeats
from app.storage.sagas.replicas import Replicas
from app.storage.sagas.saga_rows import UNFINISHED, log_row, read_sagas, select_sagas

_logger = logging.getLogger(__name__)

CLAIM_TRIES = 3
"""How often a claim is tried when the old owner's last append interferes."""

DEFER_FOR = timedelta(seconds=30)
"""How long a saga is deferred that this release can't read or claim. A newer one may claim it then."""


class _Overtaken(Exception):
    """An owner whose lease has ended stored an event after we read the log and before we marked the takeover."""


class Claims:
    """The takeovers of a database's sagas. Every method may raise `LogUnavailable`."""

    def __init__(self, transactions: Transactions, clock: LogClock, replicas: Replicas) -> None:
        self._transactions = transactions
        self._clock = clock
        self._replicas = replicas

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        """Claim at most `limit` sagas that are due; return them with their logs, under the new epoch."""
        if not definitions or limit < 1:
            return []
        try:
            return await self._claim_with_retries(owner, definitions, limit)
        except LogUnavailable as error:
            if not _may_concern_one_row(error):
                raise
        return await self._claim_one_by_one(owner, definitions, limit)

    async def _claim_with_retries(
        self,
        owner: str,
        definitions: Sequence[tuple[str, int]],
        limit: int,
        *,
        only: str | None = None,
    ) -> list[StoredSaga]:
        for _ in range(CLAIM_TRIES):
            with suppress(_Overtaken):
                return await self._claim(owner, definitions, limit, only=only)
        return []

    async def _claim_one_by_one(
        self, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        """Claim the first saga that can be claimed, and defer those before it: one row must not stop the others."""
        async with self._transactions.reading() as connection:
            now, alive = await self._clock.now(connection), await self._replicas.alive(connection)
            due = (await connection.execute(due_sagas(now, alive, definitions, limit))).all()
        for row in due:
            try:
                if taken := await self._claim_with_retries(owner, definitions, 1, only=row.id):
                    return taken
            except LogUnavailable as error:
                if not _may_concern_one_row(error):
                    raise
                _logger.error(  # noqa: TRY400 (the database's, not ours)
                    "saga_claim_deferred", extra={"saga": row.id, "error": str(error)}
                )
                with suppress(LogUnavailable):
                    await self._defer(row.id)
        return []

    @repeats
    async def _defer(self, saga_id: str) -> None:
        async with self._transactions.writing() as connection:
            until = await self._clock.now(connection) + DEFER_FOR
            await connection.execute(
                update(saga)
                .where(saga.c.id == saga_id, saga.c.status.in_(UNFINISHED))
                .values(owner=LOST, next_action_at=until)
            )

    @repeats
    async def _claim(
        self,
        owner: str,
        definitions: Sequence[tuple[str, int]],
        limit: int,
        *,
        only: str | None = None,
    ) -> list[StoredSaga]:
        """Claim in one transaction. Raise `_Overtaken` where an old owner stored an event meanwhile."""
        async with self._transactions.writing() as connection:
            now = await self._clock.now(connection)
            wanted = due_sagas(now, await self._replicas.alive(connection), definitions, limit)
            if only is not None:
                wanted = wanted.where(saga.c.id == only)
            due = (await connection.execute(wanted)).all()
            if not due:
                return []
            query = select_sagas().where(saga.c.id.in_([row.id for row in due]))
            read: dict[str, StoredSaga] = {}
            unreadable: list[str] = []
            for one in await read_sagas(connection, query):
                if isinstance(one, UnreadableSaga):
                    unreadable.append(one.saga.id)
                else:
                    read[one.saga.id] = one
            for saga_id in unreadable:
                _logger.error("saga_unreadable", extra={"saga": saga_id})
            if unreadable:
                await connection.execute(
                    update(saga)
                    .where(saga.c.id.in_(unreadable))
                    .values(owner=LOST, next_action_at=now + DEFER_FOR)
                )
            taken = taken_together([read[row.id] for row in due if row.id in read])
            if not taken:
                return []
            ids = [one.saga.id for one in taken]
            await connection.execute(
                update(saga).where(saga.c.id.in_(ids)).values(owner=owner, epoch=saga.c.epoch + 1)
            )
            dead = {row.id for row in due if row.owner is not None}
            asked = select(replica.c.lease_expires_at).where(replica.c.id == owner)
            lease = (await connection.execute(asked)).scalar_one_or_none()
            claimed = [_claimed(one, now if one.saga.id in dead else None, lease) for one in taken]
            marks = [_mark(one) for one in claimed if one.saga.id in dead]
            if marks:
                try:
                    await connection.execute(insert(saga_log), marks)
                except IntegrityError as error:
                    raise _Overtaken from error
        return claimed

    @repeats
    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        """Leave a saga to whichever replica claims it first after a time, unless its epoch has changed."""
        async with self._transactions.writing() as connection:
            await connection.execute(
                update(saga)
                .where(
                    saga.c.id == saga_id,
                    saga.c.epoch == epoch,
                    saga.c.status.in_(UNFINISHED),
                )
                .values(owner=LOST, next_action_at=until)
            )


def due_sagas(
    now: datetime,
    alive: Select[Any],
    definitions: Sequence[tuple[str, int]],
    limit: int,
) -> Select[Any]:
    """Return the query of the sagas to claim, with the owner that each had: due, and without a live owner."""
    return (
        select(saga.c.id, saga.c.owner)
        .where(
            text("saga.status IN ('running', 'compensating')"),  # to the letter, for the partial index
            saga.c.next_action_at <= now,
            or_(saga.c.owner.is_(None), saga.c.owner.not_in(alive)),
            tuple_(saga.c.definition, saga.c.version).in_(list(definitions)),
        )
        .order_by(saga.c.next_action_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def _may_concern_one_row(error: LogUnavailable) -> bool:
    """Whether a single saga's row may have caused a failure in which certainly nothing was stored."""
    cause = error.__cause__
    if error.stored is not False or not isinstance(cause, DBAPIError) or cause.connection_invalidated:
        return False
    return blame_of(cause) in (Blame.ENTRY, Blame.UNKNOWN)


def _claimed(stored: StoredSaga, died: datetime | None, lease: datetime | None) -> StoredSaga:
    """Return a saga under its new owner's epoch. `died` is when the old owner was found dead, None for no takeover."""
    events = stored.events
    if died is not None:
        events = (*events, recovered(events[-1].seq + 1, events[-1].at, died))
    return replace(stored, epoch=stored.epoch + 1, events=events, lease_expires_at=lease)


def _mark(claimed: StoredSaga) -> dict[str, Any]:
    """Return the takeover's row. It has the number that the old owner would use next, which fences it."""
    return log_row(claimed.saga.id, claimed.epoch, claimed.events[-1])
