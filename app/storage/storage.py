"""An open database, and everything that reads and writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from app.saga.ports.changes import ChangeSource
from app.storage.engine.change_listener import ChangeListener
from app.storage.engine.changes import LocalChanges
from app.storage.engine.database import Database
from app.storage.engine.log_clock import MachineClock
from app.storage.engine.postgres_connector import COMMAND_SECONDS
from app.storage.engine.reads import PostgresReads, SqliteReads
from app.storage.journal.journal import Journal
from app.storage.journal.postgres_writer import PostgresWriter
from app.storage.journal.sqlite_writer import SqliteWriter
from app.storage.outbox.deliveries import SqlDeliveries
from app.storage.outbox.feed import SqlOutbox
from app.storage.sagas.queries import SqlQueries
from app.storage.sagas.sql_log import SqlLog

LEASE_COMMAND_SECONDS = 2.0
"""A renewal that hangs on a silent connection must leave time for another within the lease."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """An open database: the log, its journal, the queries, and the pool of what is neither journal nor a mere read.

    `changes` reports what this process stores, and on PostgreSQL, where `open_storage` was asked to listen, what others do.
    """

    log: SqlLog
    journal: Journal
    queries: SqlQueries
    outbox: SqlOutbox
    deliveries: SqlDeliveries
    changes: ChangeSource
    engine: AsyncEngine


@asynccontextmanager
async def open_storage(
    url: str, *, pool_size: int = 8, machine: MachineClock | None = None, listen: bool = False
) -> AsyncIterator[Storage]:
    """Open a migrated database. `machine` is this machine's clock, unless a test has one of its own.

    `listen` reserves a connection to PostgreSQL on which changes that other processes make are reported.

    Raise `LogUnavailable` where it can't be reached, `DatabaseUrlError` for a URL of neither kind,
    `UnsafeDatabase` where its commits don't last.
    """
    database = Database(url)
    reading = max(1, pool_size // 2)
    engine, lease_engine = (
        database.engine(pool_size=max(1, pool_size - reading)),
        database.engine(pool_size=1, command_seconds=LEASE_COMMAND_SECONDS),
    )
    writer = (
        PostgresWriter(database.connect_postgres)
        if database.is_postgres
        else SqliteWriter(database.connect_sqlite, database.verify)
    )
    reads = (
        PostgresReads(partial(database.connect_postgres, command_seconds=COMMAND_SECONDS), most=reading)
        if database.is_postgres
        else SqliteReads(database.connect_sqlite, database.verify, most=reading)
    )
    journal = Journal(writer)
    changes = (
        ChangeListener(partial(database.connect_postgres, command_seconds=COMMAND_SECONDS))
        if database.is_postgres
        else LocalChanges()
    )
    journal.on_stored = changes.events_stored
    try:
        await journal.start()
        if listen:
            await changes.start()
        log = SqlLog(engine, lease_engine, journal, machine, changes, reads=reads)
        yield Storage(
            log=log,
            journal=journal,
            queries=SqlQueries(log),
            outbox=SqlOutbox(log),
            deliveries=SqlDeliveries(log),
            changes=changes,
            engine=engine,
        )
    finally:
        await journal.stop()
        await changes.stop()
        await reads.close()
        await engine.dispose()
        await lease_engine.dispose()
