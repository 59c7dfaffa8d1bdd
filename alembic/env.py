"""Alembic's environment: one transaction per upgrade, and one upgrade at a time."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from app.config import Settings
from app.storage.engine import Database
from app.storage.tables import SCHEMA

ONE_AT_A_TIME = 7_305_104_219_033_620_993
"""The key of PostgreSQL's advisory lock: any number, as long as nobody else's."""


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
    context.configure(
        connection=connection,
        target_metadata=SCHEMA,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run(url: str) -> None:
    engine = Database(url).migration_engine()
    try:
        async with engine.connect() as connection:
            await connection.execution_options(writes=True)
            async with connection.begin():
                await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


asyncio.run(_run(context.config.attributes.get("url") or Settings().database_url.get_secret_value()))
