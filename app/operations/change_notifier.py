"""Tells those who look at the list that something has moved: one question a second, however many look."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator

from app.saga.engine.background_loop import BackgroundLoop
from app.saga.engine.lifecycle import Lifecycle
from app.saga.engine.outage_reporter import OutageReporter
from app.saga.ports.queries import SagaHistory

_logger = logging.getLogger(__name__)


class TooManySubscribers(Exception):
    """This process has as many open pages as it takes."""


class ChangeNotifier(Lifecycle):
    """The newest saga and the counts of the unfinished: when they change, the list has changed."""

    def __init__(self, queries: SagaHistory, *, poll_seconds: float = 1.0, max_lookers: int = 500) -> None:
        super().__init__()
        self._queries = queries
        self._poll_seconds = poll_seconds
        self._max_lookers = max_lookers
        self._lookers = 0
        self._beats = 0
        self._run = secrets.token_hex(4)
        self._seen: object = None
        self._changed = asyncio.Event()

    @property
    def mark(self) -> str:
        """What a page remembers of when it was made, so that its stream tells what has moved since."""
        return f"{self._run}-{self._beats}"

    async def beats(
        self, *, heartbeat_seconds: float, since: str | None = None
    ) -> AsyncGenerator[int | None]:
        """Yield a number that counts up whenever something has moved; None when nothing has for so long.

        It begins with one at once where something has moved since that `mark`, or the mark is another process's.
        It ends when the process stops. Raise `TooManySubscribers`.
        """
        if self._lookers >= self._max_lookers:
            raise TooManySubscribers
        self._lookers += 1
        try:
            seen = self._beats if since in {None, self.mark} else None
            while not self.quiescing:
                if self._beats == seen:  # what came while the last one was being sent isn't waited for
                    try:
                        async with asyncio.timeout(heartbeat_seconds):
                            await self._changed.wait()
                    except TimeoutError:
                        pass
                if self.quiescing:
                    return
                now = self._beats
                yield now if now != seen else None
                seen = now
        finally:
            self._lookers -= 1

    async def look(self) -> None:
        """Look once; raise `LogUnavailable`."""
        seen = (await self._queries.newest(), dict(await self._queries.unfinished(caller=None)))
        if seen != self._seen:
            self._seen = seen
            self._beats += 1
            self._changed.set()
            self._changed = asyncio.Event()

    async def _on_start(self) -> None:
        self._run_loop(
            BackgroundLoop(
                self._turn,
                OutageReporter(_logger, "change_poll"),
                first_pause=self._poll_seconds,
                retry_seconds=self._poll_seconds,
                conclusive=lambda: self._lookers > 0,
            )
        )

    def _on_quiesce(self) -> None:
        self._changed.set()  # every stream ends
        self._changed = asyncio.Event()

    async def _turn(self) -> float:
        if self._lookers:
            await self.look()
        return self._poll_seconds
