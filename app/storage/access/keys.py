"""API keys in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, insert, select, text, update

from app.access.api_key import ApiKey
from app.access.scopes import Scope
from app.storage.engine.tables import api_key
from app.storage.engine.translation import repeats
from app.storage.sagas.sql_log import SqlLog


class SqlKeys:
    """`KeyStore` over either database."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    @repeats
    async def add(self, new: Callable[[Sequence[ApiKey]], ApiKey]) -> ApiKey:
        async with self._log.writing() as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
                await connection.execute(text("LOCK TABLE api_key IN SHARE ROW EXCLUSIVE MODE"))
            rows = (await connection.execute(select(api_key).order_by(api_key.c.id))).mappings()
            stored = new([key_of(row) for row in rows])
            await connection.execute(insert(api_key).values(**_row(stored)))
        return stored

    async def find(self, prefix: str) -> ApiKey | None:
        found = await self._read(select(api_key).where(api_key.c.prefix == prefix))
        return found[0] if found else None

    async def all(self) -> list[ApiKey]:
        return await self._read(select(api_key).order_by(api_key.c.id))

    async def prefixes(self) -> frozenset[str]:
        query = select(api_key.c.prefix).where(api_key.c.revoked_at.is_(None))
        async with self._log.reading() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def any(self) -> bool:
        return bool(await self._read(select(api_key).limit(1)))

    @repeats
    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        async with self._log.writing() as connection:
            await connection.execute(
                update(api_key)
                .where(api_key.c.id == key_id, api_key.c.revoked_at.is_(None))
                .values(revoked_at=at)
            )
        found = await self._read(select(api_key).where(api_key.c.id == key_id))
        return found[0] if found else None

    @repeats
    async def record_use(self, key_id: str, *, at: datetime) -> None:
        async with self._log.writing() as connection:
            await connection.execute(update(api_key).where(api_key.c.id == key_id).values(last_used_at=at))

    async def _read(self, query: Select[Any]) -> list[ApiKey]:
        async with self._log.reading() as connection:
            return [key_of(row) for row in (await connection.execute(query)).mappings()]


def _row(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "prefix": key.prefix,
        "digest": key.digest,
        "caller": key.caller,
        "who": key.who,
        "scopes": sorted(key.scopes),
        "everyone": key.everyone,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "created_by": key.created_by,
        "created_by_key": key.created_by_key,
    }


def key_of(row: RowMapping) -> ApiKey:
    """Return the key of a row of `api_key`."""
    scopes = frozenset(Scope(name) for name in row["scopes"] if name in list(Scope))
    return ApiKey(**{**row, "scopes": scopes})
