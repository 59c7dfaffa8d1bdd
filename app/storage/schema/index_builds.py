"""Indexes that a migration brings, built on PostgreSQL while the service goes on."""

from __future__ import annotations

import asyncio

from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage.engine.faults import Blame, blame_of
from app.storage.schema.schema_version import SCRIPTS, LockHeld, found_in

PAUSE_SECONDS = 2.0
"""Between two looks whether another process has built them."""

_BROKEN = text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


async def build_indexes(engine: AsyncEngine, *, key: int, timeout_seconds: float) -> None:
    """Build the indexes of the revisions to come, which takes as long as the tables are large.

    A revision names them as `INDEXES`. `CONCURRENTLY` holds up no write, and needs to be outside a transaction. One
    that was broken off left an index that isn't valid, and is built again. `key` is of the advisory lock that has only
    one process build at a time; behind a pooler, where a session has none, two of them wait for each other's index.
    Raise `LockHeld` where a transaction on the table stays open for longer than `timeout_seconds`, in seconds.
    """
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        link = (await connection.get_raw_connection()).driver_connection
        while not getattr(link, "pooled", False):
            asked = select(func.pg_try_advisory_lock(key))
            if (await connection.execute(asked)).scalar_one():  # who waited for it would hold up who builds
                break
            await asyncio.sleep(PAUSE_SECONDS)
        wanted = _coming(await connection.run_sync(found_in))
        if not wanted:
            return
        await connection.execute(text(f"SET lock_timeout = '{timeout_seconds:.0f}s'"))
        try:
            for name, what in wanted.items():
                if (await connection.execute(_BROKEN, {"name": name})).scalar():
                    await connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
                await connection.execute(text(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {what}"))
        except DBAPIError as error:
            if blame_of(error) is not Blame.LOCK:
                raise
            raise LockHeld(
                f"The indexes were not built: for {timeout_seconds:g} s another transaction was open on the table. Look in "
                "pg_stat_activity for it (xact_start), end it, and try again."
            ) from error


def _coming(at: str | None) -> dict[str, str]:
    """Return the indexes of the revisions after one, by name; a database without a schema gets them with its tables."""
    if at is None:
        return {}
    coming = ScriptDirectory(str(SCRIPTS)).iterate_revisions("head", at)
    return {name: what for one in coming for name, what in getattr(one.module, "INDEXES", {}).items()}
