"""Statements that read, one at a time, over the drivers themselves.

Through SQLAlchemy a read of one saga costs several times what its two statements cost. Here PostgreSQL's statements are
prepared once for each connection, and SQLite's run in threads that each have a connection of their own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import asyncpg

from app.storage.engine.postgres_connector import CONNECT_SECONDS
from app.storage.engine.postgres_session import NoCancelConnection
from app.storage.engine.translation import translated

Row = Mapping[str, Any]
"""A row by its columns' names, with values as the driver has them; rows of equal values are equal."""


class Reads(Protocol):
    """Runs statements outside any transaction."""

    is_postgres: bool
    """Whether a parameter is written `$1`, or `?1`."""

    async def fetch(self, sql: str, *arguments: object) -> Sequence[Row]:
        """Return all rows. Raise `LogUnavailable` for every failure of the database."""

    async def close(self) -> None:
        """Close the connections."""


class PostgresReads:
    """At most `most` connections, each made when it is first needed. One that broke is replaced."""

    is_postgres = True

    def __init__(self, connect: Callable[[], Awaitable[NoCancelConnection]], *, most: int) -> None:
        self._connect = connect
        self._places = asyncio.Semaphore(most)
        self._free: list[NoCancelConnection] = []

    async def fetch(self, sql: str, *arguments: object) -> Sequence[Row]:
        async with translated():
            if self._places.locked():
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._places.acquire()
            else:
                await self._places.acquire()  # at once
            try:
                while True:
                    link, used = await self._take()
                    try:
                        rows: Sequence[Row] = await link.fetch(sql, *arguments)
                    except BaseException as error:
                        if _refused(error):
                            self._free.append(link)
                            raise
                        link.terminate()
                        if used and isinstance(error, Exception) and not isinstance(error, TimeoutError):
                            continue  # it broke while it was idle, which nobody has looked for
                        raise
                    self._free.append(link)
                    return rows
            finally:
                self._places.release()

    async def close(self) -> None:
        free, self._free = self._free, []
        for link in free:
            link.terminate()

    async def _take(self) -> tuple[NoCancelConnection, bool]:
        """Return a connection, and whether it was used before."""
        while self._free:
            link = self._free.pop()
            if not link.is_closed():
                return link, True
        return await self._connect(), False


def _refused(error: BaseException) -> bool:
    """Whether the server has answered with an error, and its connection is as good as before."""
    if not isinstance(error, asyncpg.PostgresError):
        return False
    return not (error.sqlstate or "08").startswith(("08", "57P"))


class SqliteReads:
    """`most` threads, each with a connection that it opens when it is first needed."""

    is_postgres = False

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], verify: Callable[[], None], *, most: int
    ) -> None:
        """`verify` raises if the file that `connect` has opened is no longer the one at its path."""
        self._connect = connect
        self._verify = verify
        self._most = most
        self._threads: ThreadPoolExecutor | None = None
        self._own = threading.local()
        self._open: list[sqlite3.Connection] = []

    async def fetch(self, sql: str, *arguments: object) -> Sequence[Row]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="reads")
        async with translated():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._fetch, sql, arguments)

    async def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True)
            self._threads = None
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _fetch(self, sql: str, arguments: tuple[Any, ...]) -> Sequence[Any]:
        self._verify()  # first: to open what is in the place of a lost file would make a log beside it
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.row_factory = sqlite3.Row
            self._own.connection = connection
            self._open.append(connection)
            self._verify()
        return connection.execute(sql, arguments).fetchall()
