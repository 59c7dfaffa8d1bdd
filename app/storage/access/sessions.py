"""The page's sessions in the database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select

from app.access.api_key import ApiKey
from app.storage.access.keys import key_of
from app.storage.engine.tables import api_key, session
from app.storage.engine.translation import repeats
from app.storage.sagas.sql_log import SqlLog


class SqlSessions:
    """`SessionStore` over either database."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    @repeats
    async def add(self, digest: str, key_id: str, *, at: datetime, until: datetime) -> None:
        async with self._log.writing() as connection:
            await connection.execute(delete(session).where(session.c.expires_at <= at))
            await connection.execute(
                insert(session).values(digest=digest, key_id=key_id, created_at=at, expires_at=until)
            )

    async def find(self, digest: str, *, at: datetime) -> ApiKey | None:
        query = (
            select(api_key)
            .join(session, session.c.key_id == api_key.c.id)
            .where(session.c.digest == digest, session.c.expires_at > at)
        )
        async with self._log.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else key_of(row)

    async def digests(self, *, at: datetime) -> frozenset[str]:
        query = select(session.c.digest).where(session.c.expires_at > at)
        async with self._log.reading() as connection:
            return frozenset((await connection.execute(query)).scalars())

    @repeats
    async def end(self, digest: str) -> None:
        async with self._log.writing() as connection:
            await connection.execute(delete(session).where(session.c.digest == digest))
