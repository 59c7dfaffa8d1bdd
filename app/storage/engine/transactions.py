"""Connections to read with, and transactions to write in, on one engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.saga.model.errors import LogUnavailable
from app.storage.engine.translation import commit, translated


class Transactions:
    """The connections of one engine. Each may raise `LogUnavailable`, for every failure of the database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.is_postgres = engine.dialect.name == "postgresql"

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with."""
        async with translated(), self._engine.connect() as connection:
            if self.is_postgres:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction to write in. The error has `stored` False before the COMMIT, None from there on."""
        async with AsyncExitStack() as stack:
            async with translated(stored=False):
                connection = await stack.enter_async_context(self._engine.connect())
            try:
                async with translated(stored=False):
                    await connection.execution_options(writes=True)
                    await connection.begin()
                    yield connection
                await commit(connection)
            except (LogUnavailable, asyncio.CancelledError):
                await connection.invalidate()  # a ROLLBACK would wait on the same silence
                raise
