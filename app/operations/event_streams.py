"""Live streams of sagas' events: all subscribers of a process share one query.

sagas that run here      ── observer ─────────────────┐
                                                      ├─▶ one list of frames per saga ──▶ each subscriber, at its pace
sagas that run elsewhere ── query: when a change of   ┘
                            theirs is reported, and at intervals

A subscriber holds a position in its saga's list, never a copy, so one that reads slowly costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from app.operations.saga_view import SagaView
from app.operations.subscribers import TooManySubscribers
from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from app.saga.model.events import EventType, SagaEvent, TrailEntry
from app.saga.ports.changes import Change, ChangeKind, ChangeSource, NoChanges, poll_pause
from app.saga.ports.queries import SagaNews

_logger = logging.getLogger(__name__)

LAST = frozenset({EventType.SAGA_COMPLETED, EventType.SAGA_COMPENSATED})
"""The events after which no other can come. A saga that needs attention may continue."""


class SagaStream:
    """A saga with subscribers: its trail as frames. The frame at index n is the event with seq n + 1."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.ended = False
        self.subscribers = 0
        self.changed = asyncio.Event()

    @property
    def seq(self) -> int:
        """The last seq that is known."""
        return len(self.frames)

    def wake(self) -> None:
        """Make every subscriber look at the frames again."""
        self.changed.set()
        self.changed = asyncio.Event()


class EventStreams(Lifecycle):
    """The sagas of this process that have subscribers.

    `frame` renders an event, once for all its subscribers. Every `poll_seconds` the log is read once for all these
    sagas together, more rarely while `changes` reports what others store, and never without subscribers. A report has
    its sagas read at once, and doesn't put the next read of all off. Once it quiesces, all streams end: clients
    reconnect to another replica, with the seq that they have.
    """

    def __init__(
        self,
        news: SagaNews,
        *,
        frame: Callable[[TrailEntry], bytes],
        poll_seconds: float = 0.5,
        max_subscribers: int = 5_000,
        changes: ChangeSource | None = None,
    ) -> None:
        super().__init__()
        self._news = news
        self._frame = frame
        self._poll_seconds = poll_seconds
        self._max_subscribers = max_subscribers
        self._changes = changes or NoChanges()
        self._streams: dict[str, SagaStream] = {}
        self._subscribers = 0
        self._loop: BackgroundLoop | None = None
        self._changed_sagas: set[str] = set()
        self._polled_at = float("-inf")

    @property
    def subscribers(self) -> int:
        """How many there are now."""
        return self._subscribers

    @contextmanager
    def subscribe(self, view: SagaView) -> Iterator[SagaStream]:
        """Subscribe to a saga, whose trail so far is `view`'s. Raise `TooManySubscribers`."""
        if self._subscribers >= self._max_subscribers or self.quiescing:
            raise TooManySubscribers
        stream = self._streams.setdefault(view.saga.id, SagaStream())
        self._add(stream, view.events)
        stream.subscribers += 1
        self._subscribers += 1
        if self._changes.live and not stream.ended:
            self._read_soon({view.saga.id})  # a change after the view was read has been reported already
        try:
            yield stream
        finally:
            stream.subscribers -= 1
            self._subscribers -= 1
            if not stream.subscribers:
                del self._streams[view.saga.id]

    def observe(self, saga_id: str, events: Sequence[SagaEvent]) -> None:
        """Take events that have become durable here: an `Observer` of the core."""
        if (stream := self._streams.get(saga_id)) is not None:
            self._add(stream, events)

    async def frames(
        self, stream: SagaStream, *, after: int, heartbeat_seconds: float
    ) -> AsyncIterator[Sequence[bytes]]:
        """Yield the frames after seq `after` as they come, and none at each heartbeat; end with the saga or the process."""
        while True:
            changed = stream.changed
            if new := stream.frames[after:]:
                after += len(new)
                yield new
            if (stream.ended and after >= stream.seq) or self.quiescing:
                return
            if after < stream.seq or stream.changed is not changed:
                continue
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    await changed.wait()
            except TimeoutError:
                yield ()

    async def poll(self, only: Collection[str] | None = None) -> None:
        """Read the log once for all sagas that have subscribers and haven't ended, or `only` for those of them.

        Raise `LogUnavailable`.
        """
        wanted = {
            saga_id: one.seq
            for saga_id, one in self._streams.items()
            if not one.ended and (only is None or saga_id in only)
        }
        if not wanted:
            return
        for saga_id, events in (await self._news.since(wanted)).items():
            if (stream := self._streams.get(saga_id)) is not None:
                self._add(stream, events)

    async def _on_start(self) -> None:
        self._loop = self._run_loop(
            BackgroundLoop(
                self._turn,
                OutageReporter(_logger, "event_stream_poll"),
                first_pause=self._poll_seconds,
                retry_seconds=self._poll_seconds,
                conclusive=lambda: self._subscribers > 0,
            )
        )
        self._at_stop(self._changes.subscribe(self._changed))

    def _changed(self, change: Change) -> None:
        """Read at once what another process has stored of a saga with subscribers."""
        if change.kind is not ChangeKind.EVENTS or not change.elsewhere:
            return
        concerned = set(self._streams)
        if change.saga_ids is not None:
            concerned &= change.saga_ids
        if concerned:
            self._read_soon(concerned)

    def _on_quiesce(self) -> None:
        for stream in self._streams.values():
            stream.wake()

    def _read_soon(self, saga_ids: Collection[str]) -> None:
        self._changed_sagas.update(saga_ids)
        if self._loop is not None:
            self._loop.wake()

    async def _turn(self) -> float:
        """Read all sagas when that is due, else those of which a change was reported."""
        changed, self._changed_sagas = self._changed_sagas, set()
        try:
            if self._until_due() <= 0.0:
                await self.poll()
                self._polled_at = asyncio.get_running_loop().time()
            elif changed:
                await self.poll(changed)
        except BaseException:
            self._changed_sagas |= changed
            raise
        return self._until_due()

    def _until_due(self) -> float:
        pause = poll_pause(self._changes, self._poll_seconds)
        return max(0.0, self._polled_at + pause - asyncio.get_running_loop().time())

    def _add(self, stream: SagaStream, events: Sequence[TrailEntry]) -> None:
        """Add new events in order; one that leaves a gap is left to the next poll."""
        before = stream.seq
        for event in events:
            if event.seq == stream.seq + 1:
                stream.frames.append(self._frame(event))
                stream.ended = stream.ended or event.type in LAST
        if stream.seq > before:
            stream.wake()
