"""Connections: what they have committed stays, and of several hosts they find the one that writes."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from sqlalchemy import text

from app.settings.database_url import DatabaseUrlError
from app.storage import open_storage
from app.storage.engine import database as engine
from app.storage.engine.database import Database, UnsafeDatabase
from app.storage.journal.postgres_writer import PostgresWriter

FULL = 2


async def test_every_connection_to_sqlite_waits_for_the_disk(sqlite_url: str) -> None:
    """The journal's, and every one of the pool's: WAL, and synchronous=FULL."""
    database = Database(sqlite_url)
    with closing(database.connect_sqlite()) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (FULL,)
    async with open_storage(sqlite_url) as storage, storage.engine.connect() as pooled:
        assert (await pooled.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await pooled.execute(text("PRAGMA synchronous"))).scalar_one() == FULL


class _Stubborn:
    """A cursor on a database that does something else than it is told."""

    def __init__(self, path: Path, told: str, instead: str) -> None:
        self._cursor = sqlite3.connect(path, isolation_level=None).cursor()
        self._told, self._instead = told, instead

    def execute(self, sql: str) -> None:
        self._cursor.execute(self._instead if sql.startswith(self._told) else sql)

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def close(self) -> None:
        self._cursor.connection.close()


@pytest.mark.parametrize(
    ("told", "instead"),
    [
        ("PRAGMA journal_mode", "PRAGMA journal_mode = DELETE"),
        ("PRAGMA synchronous", "PRAGMA synchronous = NORMAL"),
    ],
)
def test_a_sqlite_that_may_forget_is_refused(told: str, instead: str, tmp_path: Path) -> None:
    """What was asked for is looked at, as a file system may not allow it."""
    with pytest.raises(UnsafeDatabase, match="local disk"):
        engine._pragmas(_Stubborn(tmp_path / "db", told, instead))


async def test_a_postgresql_that_may_forget_is_refused(postgres_url: str) -> None:
    """synchronous_commit off loses the last commits in a crash."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        f'ALTER DATABASE "{urlsplit(postgres_url).path[1:]}" SET synchronous_commit = off'
    )
    await connection.close()
    database = Database(postgres_url)
    with pytest.raises(UnsafeDatabase, match="synchronous_commit"):
        await database.connect_postgres()
    with pytest.raises(UnsafeDatabase):
        await PostgresWriter(database.connect_postgres).open()


def _with_hosts(url: str, *hosts: str) -> str:
    """Return the URL with other hosts; None of them is where its own was, unless `{own}` says so."""
    parts = urlsplit(url)
    user, _, own = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}@{','.join(hosts).format(own=own)}"))


async def test_a_host_that_keeps_silent_does_not_hide_the_next(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine is gone, and nobody says so; and the one that answered is asked first from then on."""
    asked = 0

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await gone.wait()
        writer.transport.abort()

    gone = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(_with_hosts(postgres_url, f"127.0.0.1:{port}", "{own}"))
    for head_start in (0.05, 60.0):  # the second time a busy machine may take long over the one that answers
        monkeypatch.setattr("app.storage.engine.postgres_connector.HEAD_START_SECONDS", head_start)
        connection = await database.connect_postgres()
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    assert asked == 1
    gone.set()
    server.close()
    await server.wait_closed()


async def test_where_no_host_answers_it_says_why(postgres_url: str) -> None:
    """Not a time-out without a word."""
    database = Database(_with_hosts(postgres_url, "127.0.0.1:1", "127.0.0.1:2"))
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await database.connect_postgres()


@pytest.mark.parametrize("url", ["mysql://a/b", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_a_url_of_neither_kind_is_refused(url: str) -> None:
    """With what to write instead."""
    with pytest.raises(DatabaseUrlError, match="write sqlite:///"):
        Database(url)
