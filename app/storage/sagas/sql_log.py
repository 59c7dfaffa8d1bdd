"""The saga log on a database: writes through the journal, reads and claims through SQLAlchemy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    Select,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.saga.model.errors import (
    LeaseLost,
    LogRefused,
    LogUnavailable,
    LogUnreadable,
    SagaFenced,
    SagaMoved,
)
from app.saga.model.events import SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.model.step import encode
from app.saga.ports.changes import Change, ChangeKind
from app.saga.ports.log import (
    LOST,
    NewSaga,
    RowChange,
    StartResult,
    StoredSaga,
    UnreadableSaga,
    check_append,
    check_operate,
    check_start,
    recovered,
    taken_together,
)
from app.storage.engine.changes import LocalChanges
from app.storage.engine.faults import Blame, blame_of
from app.storage.engine.log_clock import LogClock, MachineClock, PostgresClock, SqliteClock
from app.storage.engine.tables import CANCEL_WANTED, replica, saga, saga_log
from app.storage.engine.translation import commit, repeats, translated
from app.storage.journal.entries import AppendEntry, StartEntry
from app.storage.journal.journal import Journal
from app.storage.sagas.saga_rows import DAMAGED, read_sagas, select_sagas

_logger = logging.getLogger(__name__)

UNFINISHED = (SagaStatus.RUNNING.value, SagaStatus.COMPENSATING.value)

FORGET_REPLICAS_AFTER = timedelta(days=1)

CLAIM_TRIES = 3
"""How often a claim is tried in which an old owner's last append came in between."""

PUT_OFF = timedelta(seconds=30)
"""How long a saga is left alone whose log this version can't read: a newer one may take it then."""


LONGEST_LEASE_SECONDS = 600.0
"""A longer lease than this, and than this replica's own, is taken for a clock that was set."""


class _Seen(NamedTuple):
    """Another replica's lease: until when, since when it has been seen to be so, and how many seconds it lasts."""

    until: datetime
    since: float
    lasts: float


class _Overtaken(Exception):
    """An owner whose lease has ended stored an event between our reading of its log and our mark in it."""


def _may_be_of_one(error: LogUnavailable) -> bool:
    """Whether one of many may be to blame for a failure in which certainly nothing was stored."""
    cause = error.__cause__
    if error.stored is not False or not isinstance(cause, DBAPIError) or cause.connection_invalidated:
        return False
    return blame_of(cause) in (Blame.ENTRY, Blame.UNKNOWN)


class SqlLog:
    """`SagaLog` over PostgreSQL or SQLite. `lease_engine` is apart, so that no load starves the lease."""

    def __init__(
        self,
        engine: AsyncEngine,
        lease_engine: AsyncEngine,
        journal: Journal,
        machine: MachineClock | None = None,
        changes: LocalChanges | None = None,
    ) -> None:
        self._engine = engine
        self._lease_engine = lease_engine
        self._journal = journal
        self._postgres = engine.dialect.name == "postgresql"
        machine = machine or MachineClock()
        self._clock: LogClock = PostgresClock(machine) if self._postgres else SqliteClock(machine)
        self._counted = machine.counted
        self._lease_seconds: float | None = None
        self._leases: dict[str, _Seen] = {}
        self._changes = changes or LocalChanges()

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        check_start(saga, event)
        result = await self._journal.write(StartEntry(saga=saga, event=event, owner=owner))
        if isinstance(result, SagaFenced | LogRefused):
            raise result
        return result

    async def append(
        self,
        saga_id: str,
        *,
        epoch: int,
        events: Sequence[SagaEvent],
        change: RowChange | None = None,
    ) -> None:
        check_append(events, change)
        result = await self._journal.write(
            AppendEntry(saga_id=saga_id, epoch=epoch, events=tuple(events), change=change)
        )
        if isinstance(result, SagaFenced | LogRefused):
            raise result

    async def load(self, saga_id: str) -> StoredSaga | None:
        async with self.reading() as connection:
            found = await read_sagas(connection, select_sagas().where(saga.c.id == saga_id))
        if not found:
            return None
        if isinstance(found[0], UnreadableSaga):
            raise LogUnreadable(found[0].reason, saga=found[0])
        return found[0]

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        if not definitions or limit < 1:
            return []
        try:
            return await self._claim_in_time(owner, definitions, limit)
        except LogUnavailable as error:
            if not _may_be_of_one(error):
                raise
        return await self._claim_beside_bad_ones(owner, definitions, limit)

    async def _claim_in_time(
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

    async def _claim_beside_bad_ones(
        self, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        """Take over the first that can be, and put off those before it that can't: one row mustn't stop all."""
        async with self.reading() as connection:
            now, alive = await self.now(connection), await self._alive(connection)
            due = (await connection.execute(self._due(now, alive, definitions, limit))).all()
        for row in due:
            try:
                if taken := await self._claim_in_time(owner, definitions, 1, only=row.id):
                    return taken
            except LogUnavailable as error:
                if not _may_be_of_one(error):
                    raise
                _logger.error(  # noqa: TRY400 (the database's, not ours)
                    "put off, as it can't be taken over: saga %s: %s", row.id, error
                )
                with suppress(LogUnavailable):
                    await self._put_off(row.id)
        return []

    @repeats
    async def _put_off(self, saga_id: str) -> None:
        async with self._writing(self._engine) as connection:
            until = await self.now(connection) + PUT_OFF
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
        """Claim in one transaction; raise `_Overtaken` where an old owner stored something in the middle of it."""
        async with self._writing(self._engine) as connection:
            now = await self.now(connection)
            wanted = self._due(now, await self._alive(connection), definitions, limit)
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
            if unreadable:
                _logger.error(
                    "put off, as this version can't read their logs: sagas %s", ", ".join(unreadable)
                )
                await connection.execute(
                    update(saga)
                    .where(saga.c.id.in_(unreadable))
                    .values(owner=LOST, next_action_at=now + PUT_OFF)
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
    async def request_cancel(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        encode(request.data())
        async with self._writing(self._engine) as connection:
            query = select(saga.c.status, saga.c.owner, saga.c.cancel).where(saga.c.id == saga_id)
            row = (await connection.execute(query.with_for_update())).first()
            if row is None or row.status != SagaStatus.RUNNING.value:
                return None
            stands = None if row.cancel is None else OperatorAction.read(row.cancel)
            if stands is not None and stands.id == request.id:
                return stands  # asked again, as its answer was lost
            head = select(func.max(saga_log.c.seq)).where(saga_log.c.saga_id == saga_id)
            if seen is not None and (await connection.execute(head)).scalar_one() != seen:
                raise SagaMoved
            if stands is not None:
                return stands
            values: dict[str, Any] = {"cancel": request.stored()}
            if row.owner is None:
                values["next_action_at"] = await self.now(connection)
            await connection.execute(update(saga).where(saga.c.id == saga_id).values(values))
            kind = ChangeKind.CLAIMABLE if row.owner is None else ChangeKind.CANCELLATIONS
            await self._changes.announce(connection, kind)
        self._changes.report(Change(kind=kind, saga_ids=frozenset({saga_id})))
        return request

    async def pending_cancellations(self, owner: str) -> dict[str, OperatorAction]:
        query = select(saga.c.id, saga.c.cancel).where(saga.c.owner == owner, text(CANCEL_WANTED))
        async with self.reading() as connection:
            rows = (await connection.execute(query)).all()
        requests: dict[str, OperatorAction] = {}
        for row in rows:
            try:
                requests[row.id] = OperatorAction.read(row.cancel)
            except DAMAGED:  # another release's, or damaged: the others are heard
                _logger.warning("the wish to cancel saga %s can't be made out", row.id)
        return requests

    @repeats
    async def operate(self, saga_id: str, *, epoch: int, event: SagaEvent, status: SagaStatus) -> None:
        check_operate(event, status)
        async with self._writing(self._engine) as connection:
            moved = await connection.execute(
                update(saga)
                .where(
                    saga.c.id == saga_id,
                    saga.c.epoch == epoch,
                    saga.c.status == SagaStatus.NEEDS_ATTENTION.value,
                )
                .values(
                    status=status.value,
                    epoch=epoch + 1,
                    owner=None,
                    cancel=None,
                    updated_at=event.at,
                    next_action_at=await self.now(connection),
                )
                .returning(saga.c.id)
            )
            if moved.first() is None:
                raise SagaMoved
            head = select(func.max(saga_log.c.seq)).where(saga_log.c.saga_id == saga_id)
            if (await connection.execute(head)).scalar_one() != event.seq - 1:
                raise SagaMoved
            await connection.execute(insert(saga_log), [_row(saga_id, epoch + 1, event)])
            await self._changes.announce(connection, ChangeKind.CLAIMABLE)
        self._changes.report(Change(kind=ChangeKind.CLAIMABLE, saga_ids=frozenset({saga_id})))

    @repeats
    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        async with self._writing(self._engine) as connection:
            await connection.execute(
                update(saga)
                .where(
                    saga.c.id == saga_id,
                    saga.c.epoch == epoch,
                    saga.c.status.in_(UNFINISHED),
                )
                .values(owner=LOST, next_action_at=until)
            )

    @repeats
    async def renew(self, owner: str, *, seconds: float) -> datetime:
        async with self._writing(self._lease_engine) as connection:
            now, shown = await self._clock.keep(connection)
            values = {
                "lease_expires_at": shown + timedelta(seconds=seconds),
                "renewed_at": now,
            }
            dialect = postgresql if self._postgres else sqlite
            granted = await connection.execute(
                dialect.insert(replica)
                .values(id=owner, **values)
                .on_conflict_do_update(
                    index_elements=[replica.c.id],
                    set_=values,
                    where=replica.c.lease_expires_at >= shown,
                )
                .returning(replica.c.id)
            )
            if granted.first() is None:
                raise LeaseLost
        self._lease_seconds = seconds
        return now

    @repeats
    async def release(self, owner: str) -> None:
        async with self._writing(self._lease_engine) as connection:
            now = await self._clock.shown(connection)
            await connection.execute(
                delete(replica).where(
                    or_(
                        replica.c.id == owner,
                        replica.c.lease_expires_at < now - FORGET_REPLICAS_AFTER,
                    )
                )
            )
            await self._changes.announce(connection, ChangeKind.CLAIMABLE)
        self._changes.report(Change(kind=ChangeKind.CLAIMABLE))

    async def _alive(self, connection: AsyncConnection) -> Select[Any]:
        """Return the query of the owners whose leases last, by what all replicas see alike.

        A lease that ends later than it can, as the database's clock was set back, doesn't count once this replica has
        looked on for as long as it lasts, or as one of its own does where that is longer, and it hasn't been renewed.
        """
        shown, counted = await self._clock.shown(connection), self._counted()
        query = select(replica.c.id, replica.c.lease_expires_at, replica.c.renewed_at)
        leases = (await connection.execute(query.where(replica.c.lease_expires_at > shown))).all()
        seen, self._leases = self._leases, {}
        for owner, until, renewed_at in leases:
            known = seen.get(owner)
            if known is None or known.until != until:
                # What is left of it, and all of it: each can be too much by what a clock was set, seldom both.
                lasts = min((until - shown).total_seconds(), (until - renewed_at).total_seconds())
                known = _Seen(until=until, since=counted, lasts=min(lasts, LONGEST_LEASE_SECONDS))
            self._leases[owner] = known
        alive = select(replica.c.id).where(replica.c.lease_expires_at > shown)
        own = self._lease_seconds
        stale = [
            (owner, one.until)
            for owner, one in self._leases.items()
            if own is not None and counted - one.since > max(own, one.lasts)
        ]
        if stale:
            alive = alive.where(tuple_(replica.c.id, replica.c.lease_expires_at).not_in(stale))
        return alive

    def _due(
        self,
        now: datetime,
        alive: Select[Any],
        definitions: Sequence[tuple[str, int]],
        limit: int,
    ) -> Select[Any]:
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

    async def now(self, connection: AsyncConnection) -> datetime:
        """Return the log's time, which nobody sets."""
        return await self._clock.now(connection)

    async def time(self) -> datetime:
        """Return the log's time, which nobody sets. Raise `LogUnavailable`."""
        async with self.reading() as connection:
            return await self.now(connection)

    async def shown(self, connection: AsyncConnection) -> datetime:
        """Return the time that leases are judged by."""
        return await self._clock.shown(connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with; raise `LogUnavailable` for whatever goes wrong on it."""
        async with translated(), self._engine.connect() as connection:
            if self._postgres:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of its own, for what isn't the log's; raise `LogUnavailable` for whatever goes wrong."""
        async with self._writing(self._engine) as connection:
            yield connection

    @asynccontextmanager
    async def _writing(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A transaction to write in; what goes wrong is `stored` False before its COMMIT, None from there on."""
        async with AsyncExitStack() as stack:
            async with translated(stored=False):
                connection = await stack.enter_async_context(engine.connect())
            try:
                async with translated(stored=False):
                    await connection.execution_options(writes=True)
                    await connection.begin()
                    yield connection
                await commit(connection)
            except (LogUnavailable, asyncio.CancelledError):
                await connection.invalidate()  # a ROLLBACK would wait on the same silence
                raise


def _claimed(stored: StoredSaga, died: datetime | None, lease: datetime | None) -> StoredSaga:
    """Return a saga under its new owner's epoch; `died` is when its old owner was found dead, if it was."""
    events = stored.events
    if died is not None:
        events = (*events, recovered(events[-1].seq + 1, events[-1].at, died))
    return replace(stored, epoch=stored.epoch + 1, events=events, lease_expires_at=lease)


def _mark(claimed: StoredSaga) -> dict[str, Any]:
    """Return the takeover's row, under the seq that the old owner would use next: so it can't any more."""
    return _row(claimed.saga.id, claimed.epoch, claimed.events[-1])


def _row(saga_id: str, epoch: int, event: SagaEvent) -> dict[str, Any]:
    return {
        "saga_id": saga_id,
        "seq": event.seq,
        "epoch": epoch,
        "at": event.at,
        "event": event.type.value,
        "step": event.step,
        "attempt": event.attempt,
        "data": dict(event.data),
    }
