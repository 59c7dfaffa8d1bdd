"""The thread that writes the sandbox's file: what arrives while it commits becomes its next transaction."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from app.sandbox.stores.sqlite_store import SqliteStore
from app.sandbox.stores.store import Store

T = TypeVar("T")

Work = Callable[[Store], Any]


class FileWorker:
    """Carries work out in its order, one or several in a transaction; one that breaks takes no other with it."""

    def __init__(self, path: str) -> None:
        """Raise `SqliteFileError` where the file can't be opened."""
        self._store = SqliteStore(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-ledger")
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        # One that is dropped without being closed, as a sketch may do, leaves nothing open.
        self._close = weakref.finalize(self, _shut, self._thread, self._store)

    async def run(self, work: Callable[[Store], T]) -> T:
        """Return what `work` does, once it is stored. A cancelled caller doesn't stop it."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await future

    async def aclose(self) -> None:
        """Finish what has arrived, and close."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        if self._close.alive:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close_file)
            self._close()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                works = [work for work, _ in batch]
                results = await loop.run_in_executor(self._thread, _carried_out, self._store, works)
            except BaseException as error:
                results = [error] * len(batch)
                if not isinstance(error, Exception):
                    raise
            finally:
                for (_, future), result in zip(batch, results, strict=True):
                    if future.done():
                        continue
                    if isinstance(result, BaseException):
                        future.set_exception(result)
                    else:
                        future.set_result(result)


def _carried_out(store: SqliteStore, works: list[Work]) -> list[Any]:
    """Return each work's result, or what it raised."""
    try:
        with store.transaction():
            return [work(store) for work in works]
    except Exception as error:  # noqa: BLE001 (its caller gets it)
        if len(works) == 1:
            return [error]
    return [result for work in works for result in _carried_out(store, [work])]


def _shut(thread: ThreadPoolExecutor, store: SqliteStore) -> None:
    thread.shutdown(wait=False)
    store.close_file()
