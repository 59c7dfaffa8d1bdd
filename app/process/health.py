"""The checks behind /readyz."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from app.saga.engine.lease import Lease
from app.saga.model.errors import LogUnavailable
from app.storage import Storage
from app.storage.engine.database import UnsafeDatabase, ping
from app.storage.engine.translation import translated
from app.storage.schema.schema_version import fault

HEALTH_SECONDS = 2.0
"""How long a check of readiness may take before it counts as failed."""


class ServiceHealth:
    """Whether this process can take work, check by check."""

    def __init__(
        self,
        storage: Storage,
        lease: Lease,
        draining: asyncio.Event,
        *,
        timeout_seconds: float = HEALTH_SECONDS,
    ) -> None:
        self._engine = storage.engine
        self._journal = storage.journal
        self._lease = lease
        self._draining = draining
        self._timeout_seconds = timeout_seconds

    async def checks(self) -> Mapping[str, str | None]:
        """Return each check by name: None when it is well, else what is wrong."""
        database, schema = await self._database()
        if database is None and self._journal.unavailable:
            database = "The database takes no writes."
        return {
            "database": database,
            "schema": schema,
            "lease": None if self._lease.held else "The lease has lapsed.",
            "draining": "The process is stopping." if self._draining.is_set() else None,
        }

    async def _database(self) -> tuple[str | None, str | None]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                async with translated():
                    await ping(self._engine)
                    return None, await fault(self._engine)
        except (LogUnavailable, TimeoutError) as error:
            unsafe = isinstance(error.__cause__, UnsafeDatabase)
            return (
                str(error.__cause__) if unsafe else "The database does not answer.",
                "Unknown while the database does not answer.",
            )
