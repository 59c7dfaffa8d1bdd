"""The schema's version: reading it, and upgrading it with Alembic."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage.engine.faults import Blame, blame_of
from app.storage.engine.tables import schema_floor

_logger = logging.getLogger(__name__)

_SCRIPTS = Path(__file__).resolve().parents[3] / "alembic"


LOCK_PAUSE_SECONDS = 2.0
"""Between two tries of a migration that waited for a lock, so that those who waited behind it get through."""


class SchemaUnfit(RuntimeError):
    """The database's schema is none that this release can run on."""


class SchemaOutdated(SchemaUnfit):
    """The database's schema is older than this release: migrate it."""


class SchemaAhead(SchemaUnfit, CommandError):
    """A newer release has changed the schema. `runs` says whether this one may run on it all the same."""

    def __init__(self, words: str, *, runs: bool) -> None:
        super().__init__(words)
        self.runs = runs


class LockHeld(RuntimeError):
    """The schema could not be changed, as others held its tables all the time."""


def configuration(url: str) -> Config:
    """Return Alembic's configuration for a database, as `alembic.ini` gives it to the command line."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
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


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """Return this release's head and all revisions that it knows: read from disk once."""
    scripts = ScriptDirectory(str(_SCRIPTS))
    return scripts.get_current_head(), frozenset(one.revision for one in scripts.walk_revisions())


def head() -> str | None:
    """Return the revision that this code is written for."""
    return _revisions()[0]


def found_in(connection: Connection) -> str | None:
    """Return the revision that the database is at, or None where it has no schema. Raise `SchemaAhead`.

    A revision that this release doesn't know is a newer release's. That says in `schema_floor` which revision a
    release has to know at least, to run on its schema.
    """
    at = MigrationContext.configure(connection).get_current_revision()
    wanted, known = _revisions()
    if at is None or at in known:
        return at
    floor = None
    if inspect(connection).has_table(schema_floor.name):
        floor = connection.execute(select(schema_floor.c.revision)).scalars().first()
    if floor in known:
        raise SchemaAhead(
            f"The schema is at {at}, newer than this release's {wanted}, which may run on it: nothing is to be done.",
            runs=True,
        )
    raise SchemaAhead(
        f"The database's schema is at {at}, and this release knows it only up to {wanted} and can't run on it: start "
        "the newer release again, or go back to a backup of the database from before it.",
        runs=False,
    )


async def current(engine: AsyncEngine) -> str | None:
    """Return the revision that the database is at, or None where it has no schema. Raise `SchemaAhead`."""
    async with engine.connect() as connection:
        return await connection.run_sync(found_in)


async def fault(engine: AsyncEngine) -> str | None:
    """Return what is wrong with a database's schema in a sentence; None where this release can run on it."""
    try:
        at, wanted = await current(engine), head()
    except SchemaAhead as ahead:
        return None if ahead.runs else str(ahead)
    if at == wanted:
        return None
    return (
        f"The database's schema is at {at or 'nothing'}, this service needs {wanted}: run `make migrate` "
        "with the same DATABASE_URL, then start again."
    )


async def require_current(engine: AsyncEngine) -> None:
    """Raise `SchemaOutdated` or `SchemaAhead` where this release can't run on the database's schema."""
    try:
        at = await current(engine)
    except SchemaAhead as ahead:
        if ahead.runs:
            _logger.warning("schema_ahead", extra={"hint": str(ahead)})
            return
        raise
    if at != head():
        raise SchemaOutdated(await fault(engine))


async def try_again_while_locked(
    work: Callable[[], Awaitable[None]], *, patience: float, monotonic: Callable[[], float] = time.monotonic
) -> None:
    """Do a migration's transaction, again after a pause where it waited too long for a lock. Raise `LockHeld`.

    A statement that waits for a lock on a table has all others wait behind it; so it waits briefly, then lets them by.
    """
    until, logged = monotonic() + patience, False
    while True:
        try:
            await work()
        except DBAPIError as error:
            if blame_of(error) is not Blame.LOCK:
                raise
            if monotonic() >= until:
                raise LockHeld(
                    f"The schema was not changed: for {patience:g} s others held locks on its tables. Look in "
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
