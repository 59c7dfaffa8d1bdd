"""A write that was cut off in the middle of a question leaves SQLite to others at once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any

import pytest
from sqlalchemy import event, text

from app.storage import open_storage


async def test_a_write_cut_off_while_it_asks_holds_no_lock(sqlite_url: str) -> None:
    """Also while somebody still holds the cursor, as a traceback does."""
    asked, answer = threading.Event(), threading.Event()

    def wait() -> int:
        asked.set()
        answer.wait(30)
        return 1

    async with open_storage(sqlite_url) as storage:

        @event.listens_for(storage.engine.sync_engine, "connect")
        def _connect(dbapi_connection: Any, _record: Any) -> None:
            dbapi_connection.create_function("wait", 0, wait)

        async def write() -> None:
            async with storage.log.writing() as connection:
                await connection.execute(text("SELECT wait() UNION ALL SELECT 2 UNION ALL SELECT 3"))

        cut_off = asyncio.create_task(write())
        assert await asyncio.to_thread(asked.wait, 30)
        cut_off.cancel()
        answer.set()
        with pytest.raises(asyncio.CancelledError) as held:
            await cut_off
        with sqlite3.connect(
            sqlite_url.removeprefix("sqlite:///"), timeout=0, isolation_level=None
        ) as another:
            another.execute("BEGIN IMMEDIATE")
            another.execute("ROLLBACK")
        another.close()
        assert held.value is not None
