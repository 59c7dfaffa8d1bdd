"""Where what a database's drivers raise becomes the log's own errors, and what is to be done again is done again."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.model.errors import LogUnavailable
from app.storage.engine.database import UnsafeDatabase
from app.storage.engine.faults import to_be_repeated
from app.storage.engine.postgres_session import FORGETFUL_POOLER, of_forgetful_pooler

P = ParamSpec("P")
T = TypeVar("T")

REPEATS = 3
"""How often a transaction is done that PostgreSQL says to do again."""


async def commit(connection: AsyncConnection) -> None:
    """Commit; whatever goes wrong in it, the transaction may stand."""
    try:
        await connection.commit()
    except Exception as error:
        raise LogUnavailable(
            f"The database did not answer a COMMIT: {type(error).__name__}.",
            stored=False if to_be_repeated(error) else None,
        ) from error


@asynccontextmanager
async def translated(*, stored: bool | None = False) -> AsyncIterator[None]:
    """The one seam where what a database driver raises becomes `LogUnavailable`."""
    try:
        yield
    except (
        SQLAlchemyError,
        sqlite3.Error,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
    ) as error:
        words = f"The database did not answer: {type(error).__name__}."
        if of_forgetful_pooler(getattr(getattr(error, "orig", error), "sqlstate", None)):
            words = FORGETFUL_POOLER
        raise LogUnavailable(words, stored=stored) from error
    except UnsafeDatabase as error:
        raise LogUnavailable(str(error), stored=stored) from error


def repeats(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Do a method that is one transaction again where PostgreSQL says to: nothing of it was stored."""

    @wraps(method)
    async def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        for tries_left in reversed(range(REPEATS)):
            try:
                return await method(*args, **kwargs)
            except LogUnavailable as error:
                if not (tries_left and to_be_repeated(error)):
                    raise
        raise AssertionError  # the last try returns or raises

    return repeated
