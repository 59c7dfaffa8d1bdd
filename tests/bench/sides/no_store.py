"""The same app without a store: this service, whose journal's writer writes nowhere and says so at once.

All else is there: the API, the journal's queue, the sagas, the sandbox. So it shows what it costs to remember.
"""

from __future__ import annotations

from collections.abc import Sequence

from app import storage
from app.main import app
from app.saga.ports.log import Stored
from app.storage.journal.entries import Entry, Result
from app.storage.journal.sqlite_writer import SqliteWriter


class Nowhere(SqliteWriter):
    """Remembers nothing; whatever comes is as good as stored."""

    async def write(self, batch: Sequence[Entry], *, hurried: bool = False) -> list[Result | None]:  # noqa: ARG002 (the writer's port)
        return [Stored() for _ in batch]


storage.SqliteWriter = Nowhere  # type: ignore[attr-defined]

__all__ = ["app"]
