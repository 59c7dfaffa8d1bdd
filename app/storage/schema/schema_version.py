"""The schema's version: which one this release needs, and which one a database has. Alembic is only for changing it (`migrations`)."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage.engine.tables import schema_floor

_logger = logging.getLogger(__name__)

SCRIPTS = Path(__file__).resolve().parents[3] / "alembic"


class SchemaUnfit(RuntimeError):
    """The database's schema is none that this release can run on."""


class SchemaOutdated(SchemaUnfit):
    """The database's schema is older than this release: migrate it."""


class SchemaAhead(SchemaUnfit):
    """A newer release has changed the schema. `runs` says whether this one may run on it all the same."""

    def __init__(self, words: str, *, runs: bool) -> None:
        super().__init__(words)
        self.runs = runs


class LockHeld(RuntimeError):
    """The schema could not be changed, as others held its tables all the time."""


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """Return this release's head and all revisions that it knows: each migration's file begins with its own."""
    known = sorted(path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*.py"))
    return known[-1] if known else None, frozenset(known)


def head() -> str | None:
    """Return the revision that this code is written for."""
    return _revisions()[0]


def found_in(connection: Connection) -> str | None:
    """Return the revision that the database is at, or None where it has no schema. Raise `SchemaAhead`.

    A revision that this release doesn't know is a newer release's. That says in `schema_floor` which revision a
    release has to know at least, to run on its schema.
    """
    at = None
    if inspect(connection).has_table("alembic_version"):
        at = connection.scalar(text("SELECT version_num FROM alembic_version"))
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
