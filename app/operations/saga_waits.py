"""Waiting until sagas that other replicas run are inactive: all who wait in this process share each read.

a report of a change ── of a saga that is waited for ──┐
the interval is over, which is longer with reports ────┼──▶ one statement for all of them ──▶ those who wait
somebody begins to wait, and may have missed a report ─┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from app.saga.model.errors import LogUnavailable
from app.saga.ports.changes import Change, ChangeKind, ChangeSource, poll_pause
from app.saga.ports.queries import SagaQueries

POLL_SECONDS = 0.25
"""How often the sagas that are waited for are read where changes are not reported."""


class SagaWaits:
    """Who waits for which saga. It reads, and is subscribed to changes, only while somebody waits."""

    def __init__(self, queries: SagaQueries, source: ChangeSource) -> None:
        self._queries = queries
        self._source = source
        self._waiting: dict[
            str, dict[asyncio.Future[None], None]
        ] = {}  # in their order, which a set does not keep
        self._reported: set[str] = set()
        self._wake = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @contextmanager
    def until_inactive(self, saga_id: str) -> Iterator[asyncio.Future[None]]:
        """Give a future that is done once the saga is inactive, or has a `LogUnavailable` where that can't be read."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(saga_id, {})[future] = None
        if self._source.live:
            self._read_soon({saga_id})  # a change before this was not reported here
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        try:
            yield future
        finally:
            del self._waiting[saga_id][future]
            if not self._waiting[saga_id]:
                del self._waiting[saga_id]
            if not self._waiting:
                self._wake.set()  # a read that is under way ends by itself

    async def _read(self) -> None:
        """Read until nobody waits any more."""
        loop = asyncio.get_running_loop()
        unsubscribe: Callable[[], None] = self._source.subscribe(self._changed)
        read_at = loop.time()
        try:
            while self._waiting:
                due_at = read_at + poll_pause(self._source, POLL_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due_at):
                        await self._wake.wait()
                self._wake.clear()
                reported, self._reported = self._reported & self._waiting.keys(), set()
                if loop.time() >= due_at:
                    reported, read_at = set(self._waiting), loop.time()
                if reported:
                    await self._read_once([saga_id for saga_id in self._waiting if saga_id in reported])
        finally:
            unsubscribe()

    async def _read_once(self, saga_ids: Collection[str]) -> None:
        try:
            inactive = await self._queries.inactive(saga_ids)
        except LogUnavailable as error:
            for future in self._futures(saga_ids):
                future.set_exception(error)
                future.exception()  # mark it retrieved: its waiter may be gone
            return
        for future in self._futures([saga_id for saga_id in saga_ids if saga_id in inactive]):
            future.set_result(None)

    def _futures(self, saga_ids: Collection[str]) -> list[asyncio.Future[None]]:
        found = [one for saga_id in saga_ids for one in self._waiting.get(saga_id, ())]
        return [one for one in found if not one.done()]

    def _changed(self, change: Change) -> None:
        if change.kind is ChangeKind.EVENTS:
            self._read_soon(
                self._waiting.keys() & (self._waiting.keys() if change.saga_ids is None else change.saga_ids)
            )

    def _read_soon(self, saga_ids: Collection[str]) -> None:
        if saga_ids:
            self._reported.update(saga_ids)
            self._wake.set()
