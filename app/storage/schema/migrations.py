"""Bringing the schema up to date, with Alembic. It takes a while to import: nothing needs it before that."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import Awaitable, Callable

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from app.storage.engine.faults import Blame, blame_of
from app.storage.schema.schema_version import SCRIPTS, LockHeld, SchemaAhead, head

_logger = logging.getLogger(__name__)

LOCK_PAUSE_SECONDS = 2.0
"""Between two tries of a migration that waited for a lock, so that those who waited behind it get through."""


def configuration(url: str) -> Config:
    """Return Alembic's configuration for a database, as `alembic.ini` gives it to the command line."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> str:
    """Bring a database's schema up to date, and return its version in a sentence.

    Safe to call from several processes at once. A schema that is ahead is left as it is; raise `SchemaAhead`
    where this release can't run on it, `LockHeld` where others hold its tables for too long.
    """
    try:
        _outside_loop(lambda: command.upgrade(configuration(url), "head"))
    except SchemaAhead as ahead:
        if not ahead.runs:
            raise
        return str(ahead)
    return f"The schema is at {head()}."


def downgrade(url: str) -> None:
    """Take the whole schema away, with everything in it."""
    _outside_loop(lambda: command.downgrade(configuration(url), "base"))


async def try_again_while_locked(
    work: Callable[[], Awaitable[None]],
    *,
    timeout_seconds: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Do a migration's transaction, again after a pause where it waited too long for a lock. Raise `LockHeld`.

    A statement that waits for a lock on a table has all others wait behind it; so it waits briefly, then lets them by.
    """
    until, logged = monotonic() + timeout_seconds, False
    while True:
        try:
            await work()
        except DBAPIError as error:
            if blame_of(error) is not Blame.LOCK:
                raise
            if monotonic() >= until:
                raise LockHeld(
                    f"The schema was not changed: for {timeout_seconds:g} s others held locks on its tables. Look in "
                    "pg_stat_activity who has had a transaction open for so long (xact_start), end it, and try again."
                ) from error
            if not logged:
                _logger.warning(
                    "migration_waits_for_lock",
                    extra={
                        "hint": "Other transactions use the tables. The migration runs once they have ended."
                    },
                )
                logged = True
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        else:
            return


def _outside_loop(work: Callable[[], None]) -> None:
    """Run in a thread of its own where an event loop runs here: Alembic's environment begins one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        work()
        return
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(work).result()
