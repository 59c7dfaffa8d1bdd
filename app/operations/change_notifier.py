"""Notifies open pages that the list of sagas has changed: at most one query in each interval, for all of them.

Where changes are reported, it queries when there was one; more rarely otherwise, as a report may be lost.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator

from app.operations.subscribers import TooManySubscribers
from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from app.saga.ports.changes import Change, ChangeKind, ChangeSource, NoChanges, poll_pause
from app.saga.ports.queries import SagaHistory

_logger = logging.getLogger(__name__)


class ChangeNotifier(Lifecycle):
    """Compares the newest saga and the counts of unfinished ones; when they differ, the list has changed.

    Once it quiesces, every stream ends.
    """

    def __init__(
        self,
        queries: SagaHistory,
        *,
        poll_seconds: float = 1.0,
        max_subscribers: int = 500,
        changes: ChangeSource | None = None,
    ) -> None:
        super().__init__()
        self._queries = queries
        self._poll_seconds = poll_seconds
        self._max_subscribers = max_subscribers
        self._source = changes or NoChanges()
        self._loop: BackgroundLoop | None = None
        self._outdated = True
        self._polled_at = float("-inf")
        self._subscribers = 0
        self._count = 0
        self._process = secrets.token_hex(4)
        self._last: object = None
        self._changed = asyncio.Event()

    @property
    def version(self) -> str:
        """What a page keeps of the time at which it was rendered, to be notified of changes since."""
        return f"{self._process}-{self._count}"

    async def changes(
        self, *, heartbeat_seconds: float, since: str | None = None
    ) -> AsyncGenerator[int | None]:
        """Yield an increasing number at each change; None where nothing changed within `heartbeat_seconds`.

        Where `since` is an older `version`, or another process's, the first comes at once. It ends when the process
        stops. Raise `TooManySubscribers`.
        """
        if self._subscribers >= self._max_subscribers:
            raise TooManySubscribers
        self._subscribers += 1
        try:
            sent = self._count if since in {None, self.version} else None
            while not self.quiescing:
                if self._count == sent:  # a change while the last one was being sent is not waited for
                    try:
                        async with asyncio.timeout(heartbeat_seconds):
                            await self._changed.wait()
                    except TimeoutError:
                        pass
                if self.quiescing:
                    return
                now = self._count
                yield now if now != sent else None
                sent = now
        finally:
            self._subscribers -= 1

    async def poll(self) -> None:
        """Query once; raise `LogUnavailable`."""
        found = (await self._queries.newest(), dict(await self._queries.unfinished(caller=None)))
        if found != self._last:
            self._last = found
            self._count += 1
            self._wake_subscribers()

    async def _on_start(self) -> None:
        self._loop = self._run_loop(
            BackgroundLoop(
                self._turn,
                OutageReporter(_logger, "change_poll"),
                first_pause=self._poll_seconds,
                retry_seconds=self._poll_seconds,
                conclusive=lambda: self._subscribers > 0,
            )
        )
        self._at_stop(self._source.subscribe(self._reported))

    def _reported(self, change: Change) -> None:
        """Query at once, or where the last query was just now, when its interval is over."""
        if change.kind is ChangeKind.EVENTS:
            self._outdated = True
            if self._loop is not None and self._since_last_poll() >= self._poll_seconds:
                self._loop.wake()

    def _on_quiesce(self) -> None:
        self._wake_subscribers()

    def _wake_subscribers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _turn(self) -> float:
        interval = poll_pause(self._source, self._poll_seconds)
        if self._subscribers and (self._outdated or self._since_last_poll() >= interval):
            self._outdated, self._polled_at = False, asyncio.get_running_loop().time()
            try:
                await self.poll()
            except BaseException:
                self._outdated = True
                raise
        return self._poll_seconds

    def _since_last_poll(self) -> float:
        return asyncio.get_running_loop().time() - self._polled_at
