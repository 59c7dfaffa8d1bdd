"""The database's schema at start: migrated where the settings say so, then checked."""

from __future__ import annotations

import asyncio

from app.settings.settings import Settings
from app.storage.engine.database import Database
from app.storage.engine.migrations import require_current, upgrade


async def prepare_schema(url: str, settings: Settings) -> None:
    """Migrate where CHECKOUT_AUTO_MIGRATE says so. Raise `SchemaOutdated` or `SchemaAhead` where the schema doesn't fit."""
    database = Database(url)
    if settings.auto_migrate == "true" or (settings.auto_migrate == "auto" and not database.is_postgres):
        await asyncio.to_thread(upgrade, url)
    engine = database.migration_engine()
    try:
        await require_current(engine)
    finally:
        await engine.dispose()
