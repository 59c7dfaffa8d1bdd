"""Alembic's environment: one transaction per upgrade, and one upgrade at a time; what waits for a lock soon lets others by."""

from __future__ import annotations

import asyncio
import sys

from alembic import context
from sqlalchemy import Connection, text

from app.settings.environment import EXIT_NOT_STARTED, settings_or_exit
from app.settings.settings import Settings
from app.storage.engine.database import Database
from app.storage.engine.tables import SCHEMA
from app.storage.schema.index_builds import build_indexes
from app.storage.schema.migrations import try_again_while_locked
from app.storage.schema.schema_version import SchemaAhead, found_in
from app.storage.start_faults import database_fault

ONE_AT_A_TIME = 7_305_104_219_033_620_993
"""The key of PostgreSQL's advisory lock: any number, as long as nobody else's."""
ONE_BUILDS = ONE_AT_A_TIME + 1
"""The same while indexes are built."""


def _migrate(connection: Connection, lock_seconds: float) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{lock_seconds * 1000:.0f}ms'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
    found_in(connection)  # raises where the schema is ahead
    context.configure(
        connection=connection,
        target_metadata=SCHEMA,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def _upgrades() -> bool:
    """Whether this is an upgrade to this release's head."""
    try:
        return context.get_revision_argument() == context.get_head_revision()
    except KeyError:  # a command that changes nothing
        return False


async def _run(url: str, settings: Settings) -> None:
    database = Database(url)
    engine = database.migration_engine(create=True)

    async def whole() -> None:
        async with engine.connect() as connection:
            await connection.execution_options(writes=True)
            async with connection.begin():
                await connection.run_sync(_migrate, settings.migrate_lock_seconds)

    try:
        if database.is_postgres and _upgrades():
            await build_indexes(engine, key=ONE_BUILDS, timeout_seconds=settings.migrate_timeout_seconds)
        await try_again_while_locked(whole, timeout_seconds=settings.migrate_timeout_seconds)
    finally:
        await engine.dispose()


def _from_the_command_line() -> None:
    """Migrate what DATABASE_URL names; end with a sentence where that can't be done."""
    settings = settings_or_exit()
    url = settings.database_url.get_secret_value()
    try:
        asyncio.run(_run(url, settings))
    except Exception as error:
        fault = database_fault(error, url)
        if fault is None:
            raise
        sys.stderr.write(f"{fault}\n")
        sys.exit(0 if isinstance(error, SchemaAhead) and error.runs else EXIT_NOT_STARTED)


if given := context.config.attributes.get("url"):
    asyncio.run(_run(given, Settings()))
else:
    _from_the_command_line()
