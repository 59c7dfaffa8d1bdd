"""The schema's version: where it stands, and bringing it up to date with Alembic."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

_SCRIPTS = Path(__file__).resolve().parents[2] / "alembic"


class SchemaBehind(RuntimeError):
    """The database's schema is not this service's."""


def configuration(url: str) -> Config:
    """Return Alembic's configuration for a database, as `alembic.ini` gives it to the command line."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Bring a database's schema up to date. Safe to call from several processes at once."""
    _outside_loop(lambda: command.upgrade(configuration(url), "head"))


def downgrade(url: str) -> None:
    """Take the whole schema away, with everything in it."""
    _outside_loop(lambda: command.downgrade(configuration(url), "base"))


@cache
def head() -> str | None:
    """Return the revision that this code is written for; read from disk once, which takes milliseconds."""
    return ScriptDirectory(str(_SCRIPTS)).get_current_head()


async def current(engine: AsyncEngine) -> str | None:
    """Return the revision that the database is at, or None where it has no schema."""
    async with engine.connect() as connection:
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


async def require_current(engine: AsyncEngine) -> None:
    """Raise `SchemaBehind` where the database's schema isn't the one that this code is written for."""
    at, wanted = await current(engine), head()
    if at != wanted:
        raise SchemaBehind(
            f"The database's schema is at {at or 'nothing'}, this service needs {wanted}: run `make migrate` "
            "with the same DATABASE_URL, then start again."
        )


def _outside_loop(work: Callable[[], None]) -> None:
    """Run in a thread of its own where an event loop runs here: Alembic's environment begins one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        work()
        return
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(work).result()
