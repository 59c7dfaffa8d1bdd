"""The saga log on a database: writes through the journal, reads over the drivers, the rest through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.saga.model.errors import LogError, LogUnreadable, SagaMoved
from app.saga.model.events import SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.ports.changes import Change, ChangeKind
from app.saga.ports.log import NewSaga, RowChange, StartResult, StoredSaga, UnreadableSaga
from app.saga.ports.log_checks import check_append, check_operate, check_start
from app.storage.engine.changes import LocalChanges
from app.storage.engine.json_text import encode
from app.storage.engine.log_clock import LogClock, MachineClock, PostgresClock, SqliteClock
from app.storage.engine.reads import Reads
from app.storage.engine.tables import saga, saga_log
from app.storage.engine.transactions import Transactions
from app.storage.engine.translation import repeats
from app.storage.journal.entries import AppendEntry, StartEntry
from app.storage.journal.journal import Journal
from app.storage.sagas.cancellation import CancellationRequests
from app.storage.sagas.claims import Claims
from app.storage.sagas.replicas import Replicas
from app.storage.sagas.saga_reads import SagaReads
from app.storage.sagas.saga_rows import log_row


class SqlLog:
    """`SagaLog` over PostgreSQL or SQLite. Leases have `lease_engine` to themselves, so that no load delays them."""

    def __init__(
        self,
        engine: AsyncEngine,
        lease_engine: AsyncEngine,
        journal: Journal,
        machine: MachineClock | None = None,
        changes: LocalChanges | None = None,
        *,
        reads: Reads,
    ) -> None:
        self._journal = journal
        self._transactions = Transactions(engine)
        self.reads = SagaReads(reads, self._transactions)
        machine = machine or MachineClock()
        self._clock: LogClock = (
            PostgresClock(machine) if self._transactions.is_postgres else SqliteClock(machine)
        )
        self._changes = changes or LocalChanges()
        self._replicas = Replicas(Transactions(lease_engine), self._clock, machine, self._changes)
        self._claims = Claims(self._transactions, self._clock, self._replicas)
        self._cancellations = CancellationRequests(self._transactions, self._clock, self._changes)

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        check_start(saga, event, encode)
        result = await self._journal.write(StartEntry(saga=saga, event=event, owner=owner))
        if isinstance(result, LogError):
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
        check_append(events, change, encode)
        result = await self._journal.write(
            AppendEntry(saga_id=saga_id, epoch=epoch, events=tuple(events), change=change)
        )
        if isinstance(result, LogError):
            raise result

    async def load(self, saga_id: str) -> StoredSaga | None:
        found = await self.reads.find(saga_id)
        if isinstance(found, UnreadableSaga):
            raise LogUnreadable(found.reason, saga=found)
        return found

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        return await self._claims.claim(owner=owner, definitions=definitions, limit=limit)

    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        await self._claims.abandon(saga_id, epoch=epoch, until=until)

    async def request_cancel(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        return await self._cancellations.request(saga_id, request, seen=seen)

    async def pending_cancellations(self, owner: str) -> dict[str, OperatorAction]:
        return await self._cancellations.pending(owner)

    @repeats
    async def operate(self, saga_id: str, *, epoch: int, event: SagaEvent, status: SagaStatus) -> None:
        check_operate(event, status)
        async with self._transactions.writing() as connection:
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
                    next_action_at=await self._clock.now(connection),
                )
                .returning(saga.c.id)
            )
            if moved.first() is None:
                raise SagaMoved
            head = select(func.max(saga_log.c.seq)).where(saga_log.c.saga_id == saga_id)
            if (await connection.execute(head)).scalar_one() != event.seq - 1:
                raise SagaMoved
            await connection.execute(insert(saga_log), [log_row(saga_id, epoch + 1, event)])
            await self._changes.announce(connection, ChangeKind.CLAIMABLE)
        self._changes.report(Change(kind=ChangeKind.CLAIMABLE, saga_ids=frozenset({saga_id})))

    async def renew(self, owner: str, *, seconds: float) -> datetime:
        return await self._replicas.renew(owner, seconds=seconds)

    async def release(self, owner: str) -> None:
        await self._replicas.release(owner)

    async def now(self, connection: AsyncConnection) -> datetime:
        """Return the log's time, which nobody sets."""
        return await self._clock.now(connection)

    async def time(self) -> datetime:
        """Return the log's time, which nobody sets. Raise `LogUnavailable`."""
        async with self.reading() as connection:
            return await self._clock.now(connection)

    async def shown(self, connection: AsyncConnection) -> datetime:
        """Return the time that leases are judged by."""
        return await self._clock.shown(connection)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Return a connection to read with. Raise `LogUnavailable` for every failure of the database."""
        return self._transactions.reading()

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Return a transaction to write in, for other tables than the log's. Raise `LogUnavailable`, as `reading`."""
        return self._transactions.writing()
