"""Connections to either database, each set so that what it has committed stays, and asserted to be.

SQLAlchemy's own defaults for SQLite lose updates silently (its driver begins transactions late);
so here the driver begins none, and every write transaction is `BEGIN IMMEDIATE`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from app.settings.database_url import PostgresUrl
from app.settings.database_url_parser import parse_database_url
from app.sqlite.file import SqliteFileError, SqliteFiles, connect_file, explained, file_uri
from app.sqlite.write_ahead_log import BUSY_SECONDS, switch_to_wal
from app.storage.engine.postgres_connector import COMMAND_SECONDS, CONNECT_SECONDS, PostgresConnector
from app.storage.engine.postgres_session import NoCancelConnection, UnsafeDatabase, transaction_settings


class Database:
    """The database of the saga log. Making one opens no connection."""

    def __init__(self, url: str) -> None:
        """Raise `DatabaseUrlError` for a URL that names neither SQLite nor PostgreSQL, or can't be used."""
        parsed = parse_database_url(url)
        self.is_postgres = isinstance(parsed, PostgresUrl)
        if isinstance(parsed, PostgresUrl):
            self._connector = PostgresConnector(parsed)
        else:
            self.path = parsed.path
            self._files: SqliteFiles | None = None

    def engine(self, *, pool_size: int = 8, command_seconds: float = COMMAND_SECONDS) -> AsyncEngine:
        """Return a pool for reading and claiming; the journal has its own connection.

        On PostgreSQL a command times out after `command_seconds`.
        """
        if self.is_postgres:
            engine = create_async_engine(
                "postgresql+asyncpg://",
                async_creator=partial(self.connect_postgres, command_seconds=command_seconds),
                isolation_level="READ COMMITTED",
                pool_size=pool_size,
                max_overflow=0,
                pool_timeout=CONNECT_SECONDS,
                pool_pre_ping=True,
            )
            _set_up_postgres(engine.sync_engine)
            return engine
        return self._sqlite_engine(create=False, pool_size=pool_size, max_overflow=0)

    def migration_engine(self, *, create: bool = False) -> AsyncEngine:
        """Return an engine that keeps no connection, and waits for a lock or a long statement as it must.

        With `create` a SQLite file that isn't there is made.
        """
        if self.is_postgres:
            engine = create_async_engine(
                "postgresql+asyncpg://",
                async_creator=partial(self.connect_postgres, patient=True),
                isolation_level="READ COMMITTED",
                poolclass=NullPool,
            )
            _set_up_postgres(engine.sync_engine)
            return engine
        return self._sqlite_engine(create=create, poolclass=NullPool)

    def _sqlite_engine(self, *, create: bool, **options: Any) -> AsyncEngine:
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=self.path),
            connect_args={"isolation_level": None, "timeout": BUSY_SECONDS},
            **options,
        )
        _set_up_sqlite(engine.sync_engine, self.path, create=create, verify=self._verify_for_engine)
        return engine

    async def connect_postgres(
        self, *, patient: bool = False, command_seconds: float | None = None
    ) -> NoCancelConnection:
        """Connect to PostgreSQL, as `PostgresConnector.connect` does. Raise `UnsafeDatabase`."""
        return await self._connector.connect(patient=patient, command_seconds=command_seconds)

    def connect_sqlite(self) -> sqlite3.Connection:
        """Connect to SQLite. Raise `UnsafeDatabase` where its commits don't wait for the disk."""
        connection = connect_file(
            self.path,
            create=False,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )
        try:
            with explained(self.path):
                _pragmas(connection.cursor())
                connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            if self._files is None:
                self._files = SqliteFiles(self.path)
            self.verify()
        except BaseException:
            connection.close()
            raise
        return connection

    def verify(self) -> None:
        """Raise `SqliteFileError` where SQLite's file isn't the one that `connect_sqlite` has opened first."""
        if self._files is not None:
            self._files.check()

    def _verify_for_engine(self) -> None:
        try:
            self.verify()
        except SqliteFileError as error:
            raise OperationalError("BEGIN", None, error) from error


def _pragmas(cursor: Any) -> None:
    switch_to_wal(cursor.execute)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous")
    mode, synchronous = cursor.fetchone()
    cursor.close()
    if mode != "wal" or synchronous < 2:
        raise UnsafeDatabase(
            "SQLite would not take journal_mode=WAL with synchronous=FULL: use a local disk."
        )


def _set_up_postgres(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        link = connection.connection.driver_connection
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            return
        if isinstance(link, NoCancelConnection) and (settings := transaction_settings(link)):
            connection.exec_driver_sql(settings)


def _set_up_sqlite(engine: Engine, path: str, *, create: bool, verify: Callable[[], None]) -> None:
    @event.listens_for(engine, "do_connect")
    def _open(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
        verify()  # else SQLite would begin a new log beside a file whose own was removed
        # Asked of the driver, a file that can't be opened would end a thread of its with a traceback.
        connect_file(path, create=create).close()
        arguments[:] = [file_uri(path, create=create)]
        options["uri"] = True

    @event.listens_for(engine, "connect")
    def _connect(dbapi_connection: Any, _record: Any) -> None:
        _pragmas(dbapi_connection.cursor())

    @event.listens_for(engine, "invalidate")
    def _roll_back(dbapi_connection: Any, _record: Any, _exception: BaseException | None) -> None:
        # Closed with a cursor still open, as a cancelled SELECT leaves it, SQLite would keep the
        # transaction, and the lock with it, until somebody collects that cursor.
        with contextlib.suppress(Exception):
            dbapi_connection.rollback()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        verify()
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


async def ping(engine: AsyncEngine) -> None:
    """Return when the database has answered; raise what the driver raises."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


__all__ = ["Database", "UnsafeDatabase", "ping"]
