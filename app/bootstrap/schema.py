"""The database's schema at start: migrated where the settings say so, then checked."""

from __future__ import annotations

import asyncio
import os

from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings.settings import Settings
from app.storage.engine.database import Database
from app.storage.schema.schema_version import SchemaAhead, current, head, require_current


async def prepare_schema(url: str, settings: Settings) -> None:
    """Migrate where CHECKOUT_AUTO_MIGRATE says so. Raise `SchemaOutdated` or `SchemaAhead` where the schema doesn't fit."""
    database = Database(url)
    migrates = settings.auto_migrate == "true" or (
        settings.auto_migrate == "auto" and not database.is_postgres
    )
    engine = database.migration_engine()
    try:
        if migrates and not await _is_current(database, engine):
            from app.storage.schema.migrations import upgrade  # noqa: PLC0415 - Alembic is slow to import

            await asyncio.to_thread(upgrade, url)
        await require_current(engine)
    finally:
        await engine.dispose()


async def _is_current(database: Database, engine: AsyncEngine) -> bool:
    """Return whether there is nothing to migrate: the schema is this release's, or a newer one's."""
    if not database.is_postgres and not os.path.exists(database.path):  # noqa: ASYNC240, PTH110 (nobody waits)
        return False
    try:
        return await current(engine) == head()
    except SchemaAhead:
        return True
