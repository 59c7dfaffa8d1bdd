"""Group commit: every write of every saga in this process goes through one journal.

    saga 1 ──┐            ┌────────────────────────────┐
    saga 2 ──┼─▶ queue ──▶│ one transaction per batch  │──▶ each append's future resolves
    saga 3 ──┘            └────────────────────────────┘
                 while one batch is being committed, the next one gathers; there is no timer

A long queue is written in two halves: while the database writes the one, this process moves the sagas of
the other on. As a whole, each would stand idle until the other is through. For that a batch must leave
before the sagas of the one before it move on.

(Gray & Reuter, "Transaction Processing", 1993, ch. 9; DeWitt et al., SIGMOD 1984.)

A write is idempotent: written again, it finds itself by `(saga_id, seq, epoch)` and counts as done.
So whatever interrupts a batch, also a connection that breaks in its COMMIT, is answered the same
way: connect again and write the same batch again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from app.saga.errors import LogRefused, LogUnavailable, SagaFenced
from app.saga.events import SagaEvent
from app.saga.log import NewSaga, RowChange, Started, StartResult
from app.saga.tasks import end_tasks

_logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
CLOSE_SECONDS = 5.0
HALVED_ABOVE = 32
"""A queue of up to so many entries is written as a whole: halves of it would cost more in commits than they save."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartEntry:
    """A saga to be stored with its first event."""

    saga: NewSaga
    event: SagaEvent
    owner: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AppendEntry:
    """Events to be appended, all or none, under the epoch in which their writer owns the saga."""

    saga_id: str
    epoch: int
    events: Sequence[SagaEvent]
    change: RowChange | None


Entry = StartEntry | AppendEntry
Result = StartResult | SagaFenced | LogRefused
"""What became of an entry; for an append, `Started` stands for stored."""


class _Waiting(NamedTuple):
    """An entry, what its writer awaits, and since when it waits, in seconds of the monotonic clock."""

    entry: Entry
    result: asyncio.Future[Result]
    since: float


class Interrupted(Exception):
    """The batch may or may not have been stored: write it again."""


class BadBatch(Exception):
    """The database refused the batch for what is in it; nothing of it was stored."""


class BatchWriter(Protocol):
    """Writes a batch in one transaction. One implementation per database."""

    async def open(self) -> None:
        """Connect. Raise `Interrupted` where that can't be done now."""

    async def write(self, batch: Sequence[Entry]) -> list[Result | None]:
        """Store a batch and return each entry's result; None: it ran into another's change, write it again.

        Raise `Interrupted` or `BadBatch`.
        """

    async def close(self) -> None:
        """Disconnect; never raise."""


class Journal:
    """The one writer. `max_batch` bounds a transaction, `max_queue` what may wait for its turn.

    `on_batch` is told each batch's size, how long its first entry waited and how long it took, in seconds.
    """

    def __init__(
        self,
        writer: BatchWriter,
        *,
        max_batch: int = 256,
        max_queue: int = 20_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._monotonic = monotonic
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._interrupted = False
        self._closing = False
        self.on_batch: Callable[[int, float, float], None] = lambda _size, _waited, _took: None

    @property
    def queued(self) -> int:
        """How much waits for its turn."""
        return len(self._queue)

    @property
    def away(self) -> bool:
        """Whether the database took nothing at the last try; what waits is being tried again."""
        return self._interrupted

    async def open(self) -> None:
        """Connect and begin. Raise `LogUnavailable` where the database can't be reached."""
        try:
            await self._writer.open()
        except Interrupted as error:
            raise LogUnavailable(f"The database can't be reached: {error}") from error
        self._task = asyncio.create_task(self._run())

    async def write(self, entry: Entry) -> Result:
        """Return once the entry is durable, or was answered otherwise. Cancelling doesn't cancel the write.

        Raise `LogUnavailable` for a start while the database is known to be away, or the queue is
        full; an append waits until the database is back, as nothing else can be done about it.
        """
        if self._task is None or self._task.done():
            raise LogUnavailable("The journal is closed.", stored=False)
        if isinstance(entry, StartEntry):
            if self._interrupted:
                raise LogUnavailable("The database is away.", stored=False)
            if len(self._queue) >= self._max_queue:
                raise LogUnavailable("Too much waits to be stored.", stored=False)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(entry, future, self._monotonic()))
        self._wake.set()
        return await future  # which a cancellation ends, and not the entry

    async def close(self) -> None:
        """Write what is queued if the database is there, then disconnect; the rest gets `LogUnavailable`."""
        if self._task is not None:
            self._closing = True
            self._wake.set()
            if not self._interrupted:
                await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            await end_tasks([self._task])
        for one in self._queue:
            _fail(one.result, LogUnavailable("The journal was closed.", stored=None))
        self._queue.clear()
        await self._writer.close()

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [self._queue.popleft() for _ in range(self._next_size())]
            began = self._monotonic()
            try:
                await self._store(batch)
                waited, took = began - batch[0].since, self._monotonic() - began
                asyncio.get_running_loop().call_soon(self.on_batch, len(batch), waited, took)
            except BaseException as error:
                for one in batch:
                    _fail(
                        one.result, LogUnavailable("The journal stopped in the middle of this.", stored=None)
                    )
                if not isinstance(error, Exception):
                    raise
                _logger.exception("a batch broke down; its sagas are given up and taken over anew")

    def _next_size(self) -> int:
        waiting = len(self._queue)
        if waiting > HALVED_ABOVE:
            waiting = max(HALVED_ABOVE, waiting // 2)
        return min(waiting, self._max_batch)

    async def _store(self, batch: list[_Waiting]) -> None:
        """Write a batch until every entry of it has its result."""
        try:
            results = await self._write([one.entry for one in batch])
        except BadBatch as error:
            if len(batch) > 1:  # one bad entry mustn't take its neighbours along
                for one in batch:
                    await self._store([one])
                return
            _logger.warning("an entry can't be stored: %s", error)
            results = [LogRefused("The database refuses what is in this entry.")]
        # A turn later: by then the next batch is on its way, and needn't wait until these sagas have moved on.
        asyncio.get_running_loop().call_soon(_tell, batch, results)
        again = [one for one, result in zip(batch, results, strict=True) if result is None]
        if again:
            await self._store(again)

    async def _write(self, entries: list[Entry]) -> list[Result | None]:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                results = await self._writer.write(entries)
            except BadBatch:
                raise
            except Exception as error:  # noqa: BLE001 (the one writer must never die; writing again is always safe)
                if not self._interrupted:
                    _logger.warning(
                        "the database is away, writing again until it is back: %s",
                        error,
                    )
                self._interrupted = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                if self._interrupted:
                    _logger.warning("the database is back")
                self._interrupted = False
                return results


def _tell(batch: list[_Waiting], results: list[Result | None]) -> None:
    for one, result in zip(batch, results, strict=True):
        if result is not None and not one.result.done():  # whoever waited may have gone
            one.result.set_result(result)


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # its waiter may have left


__all__ = [
    "AppendEntry",
    "BadBatch",
    "BatchWriter",
    "Entry",
    "Interrupted",
    "Journal",
    "Result",
    "StartEntry",
    "Started",
]
