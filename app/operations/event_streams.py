"""Watching sagas live: thousands of watchers of a process share one query per tick.

what runs here ── observer ──────────────┐
                                         ├─▶ one list of frames per watched saga ──▶ each watcher, at its own pace
what others run ── one query per tick ───┘

A watcher holds a place in its saga's list, never a copy, so that one who doesn't read costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

from app.operations.saga_view import SagaView
from app.saga.engine.background_loop import BackgroundLoop
from app.saga.engine.lifecycle import Lifecycle
from app.saga.engine.outage_reporter import OutageReporter
from app.saga.model.events import EventType, SagaEvent, TrailEntry
from app.saga.ports.queries import SagaNews

_logger = logging.getLogger(__name__)

LAST = frozenset({EventType.SAGA_COMPLETED, EventType.SAGA_COMPENSATED})
"""The events behind which nothing ever comes. A saga that needs attention may go on."""


class TooManyWatchers(Exception):
    """This process has as many watchers as it takes."""


class SagaStream:
    """A saga with watchers: its trail as frames, of which frame n stands for seq n + 1."""

    def __init__(self, frames: list[bytes], *, ended: bool) -> None:
        self.frames = frames
        self.ended = ended
        self.watchers = 0
        self.changed = asyncio.Event()

    @property
    def seq(self) -> int:
        """The last seq that is known."""
        return len(self.frames)

    def wake(self) -> None:
        """Tell every watcher to look again."""
        self.changed.set()
        self.changed = asyncio.Event()


class EventStreams(Lifecycle):
    """The watched sagas of this process.

    `frame` makes an event's bytes, once for all its watchers. `poll_seconds` is how often the log is
    asked about all of them together; while nobody watches it isn't asked. Once it quiesces, every watcher is sent
    away: it comes back to another replica, with the seq that it has.
    """

    def __init__(
        self,
        news: SagaNews,
        *,
        frame: Callable[[TrailEntry], bytes],
        poll_seconds: float = 0.5,
        max_watchers: int = 5_000,
    ) -> None:
        super().__init__()
        self._news = news
        self._frame = frame
        self._poll_seconds = poll_seconds
        self._max_watchers = max_watchers
        self._watched: dict[str, SagaStream] = {}
        self._count = 0

    @property
    def watchers(self) -> int:
        """How many watch at this moment."""
        return self._count

    @contextmanager
    def watching(self, view: SagaView) -> Iterator[SagaStream]:
        """Watch a saga, whose trail so far is `view`'s. Raise `TooManyWatchers`."""
        if self._count >= self._max_watchers or self.quiescing:
            raise TooManyWatchers
        watched = self._watched.setdefault(view.saga.id, SagaStream([], ended=False))
        self._add(watched, view.events)
        watched.watchers += 1
        self._count += 1
        try:
            yield watched
        finally:
            watched.watchers -= 1
            self._count -= 1
            if not watched.watchers:
                del self._watched[view.saga.id]

    def tell(self, saga_id: str, event: SagaEvent) -> None:
        """Hear of an event that has become durable here: an `Observer` of the core."""
        if (watched := self._watched.get(saga_id)) is not None:
            self._add(watched, (event,))

    async def follow(
        self, watched: SagaStream, *, after: int, heartbeat_seconds: float
    ) -> AsyncIterator[Sequence[bytes]]:
        """Yield the frames behind seq `after` as they come, none at each heartbeat; end with the saga or the process.

        Cancelling is leaving.
        """
        while True:
            changed = watched.changed
            if new := watched.frames[after:]:
                after += len(new)
                yield new
            if (watched.ended and after >= watched.seq) or self.quiescing:
                return
            if after < watched.seq or watched.changed is not changed:
                continue
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    await changed.wait()
            except TimeoutError:
                yield ()

    async def poll(self) -> None:
        """Ask the log once about every saga that is watched and hasn't ended. Raise `LogUnavailable`."""
        asked = {saga_id: one.seq for saga_id, one in self._watched.items() if not one.ended}
        if not asked:
            return
        for saga_id, events in (await self._news.since(asked)).items():
            if (watched := self._watched.get(saga_id)) is not None:
                self._add(watched, events)

    async def _on_start(self) -> None:
        self._run_loop(
            BackgroundLoop(
                self._turn,
                OutageReporter(_logger, "event_stream_poll"),
                first_pause=self._poll_seconds,
                retry_seconds=self._poll_seconds,
                conclusive=lambda: self._count > 0,
            )
        )

    def _on_quiesce(self) -> None:
        for watched in self._watched.values():
            watched.wake()

    async def _turn(self) -> float:
        await self.poll()
        return self._poll_seconds

    def _add(self, watched: SagaStream, events: Sequence[TrailEntry]) -> None:
        """Add what is new, in order; whatever leaves a gap is left to the next poll."""
        before = watched.seq
        for event in events:
            if event.seq == watched.seq + 1:
                watched.frames.append(self._frame(event))
                watched.ended = watched.ended or event.type in LAST
        if watched.seq > before:
            watched.wake()
