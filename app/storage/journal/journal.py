"""Group commit: every write of every saga in this process goes through one journal.

    saga 1 ──┐            ┌────────────────────────────┐
    saga 2 ──┼─▶ queue ──▶│ one transaction per batch  │──▶ each append's future resolves
    saga 3 ──┘            └────────────────────────────┘
                 while one batch is being committed, the next one gathers; there is no timer

A long queue is written in two halves: while the database writes one, this process advances the sagas of
the other. With a single batch, each would be idle until the other has finished. For that a batch must be
sent before the sagas of the one before it advance.

(Gray & Reuter, "Transaction Processing", 1993, ch. 9; DeWitt et al., SIGMOD 1984.)

A write is idempotent: written again, it is found by `(saga_id, seq, epoch)` and counts as stored.
So whatever interrupts a batch, also a connection that breaks in its COMMIT, is handled in the
same way: connect again and write the same batch again.

One entry mustn't block the others, whatever is wrong with it. A batch that the database refuses for what is in
it, that waits for a lock, or that fails `SAME_FAILURES` times in the same way, is written again one by one:

    the database refuses its content    the result is `LogRefused`
    another session holds its lock      deferred, and retried beside the others until the lock is free
    it fails `SAME_FAILURES` times,     `LogUnavailable`, as its outcome is unknown: its saga is dropped and taken
    and other entries are stored        over again. So too if it takes the server down each time
    the database is unavailable         all wait for it
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from app.saga.background.lifecycle import Lifecycle
from app.saga.model.errors import LogRefused, LogUnavailable
from app.saga.ports.log import Stored
from app.storage.engine.faults import Blame
from app.storage.journal.entries import (
    BatchWriter,
    CommitUnknown,
    Entry,
    RejectedBatch,
    Result,
    StartEntry,
    saga_of,
)

_logger = logging.getLogger(__name__)

SAME_FAILURES = 3
"""How often a batch fails in the same way, for no known reason, before it is written one by one."""

DEFERRED_SECONDS = 1.0
DEFERRED_SHARE = 10.0
"""Deferred entries are retried after this pause, and never take more than a tenth of the journal's time."""

DEFERRED_ROUND_SECONDS = 1.0
"""The longest vain wait per round. Many may wait for one transaction: once it has ended, none waits for long."""

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
CLOSE_SECONDS = 5.0
HALVED_ABOVE = 32
"""A queue of up to so many entries is written as a whole: halves of it would cost more in commits than they save."""


class _Waiting(NamedTuple):
    """An entry, what its writer awaits, and since when it waits, in seconds of the monotonic clock."""

    entry: Entry
    result: asyncio.Future[Result]
    since: float


class _OneByOne(Exception):
    """One of the batch may be to blame: write each alone."""


class _Locked(Exception):
    """Another session holds a lock that this one entry needs."""


class _Unstorable(Exception):
    """The one entry fails each time, and others don't."""


class Journal(Lifecycle):
    """The one writer. `max_batch` bounds a transaction, `max_queue` what may wait for its turn.

    `start` connects, and raises `LogUnavailable` if the database can't be reached. `stop` writes what is queued if
    the database is up, and disconnects; the rest gets `LogUnavailable`.

    `on_batch` gets each batch's size, how long its first entry waited and how long it took, in seconds; `on_stored` the
    ids of the sagas whose entries have become durable.
    """

    def __init__(
        self,
        writer: BatchWriter,
        *,
        max_batch: int = 256,
        max_queue: int = 20_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._writer = writer
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._monotonic = monotonic
        self._queue: deque[_Waiting] = deque()
        self._deferred: list[_Waiting] = []
        self._retry_at = 0.0
        self._locked: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unavailable = False
        self.on_batch: Callable[[int, float, float], None] = lambda _size, _waited, _took: None
        self.on_stored: Callable[[Sequence[str]], None] = lambda _saga_ids: None

    @property
    def queued(self) -> int:
        """How many entries wait to be written."""
        return len(self._queue) + len(self._deferred)

    @property
    def unavailable(self) -> bool:
        """Whether the last write failed because the database is unavailable; it is being retried."""
        return self._unavailable

    async def _on_start(self) -> None:
        self._unavailable = False
        try:
            await self._writer.open()
        except CommitUnknown as error:
            raise LogUnavailable(f"The database can't be reached: {error}") from error
        self._task = self._spawn(self._write_batches())

    async def write(self, entry: Entry) -> Result:
        """Return the result once the entry is durable or refused. Cancelling doesn't cancel the write.

        Raise `LogUnavailable` for a start while the database is known to be unavailable, or the queue is
        full. An append waits until the database is available again.
        """
        if self._task is None or self._task.done():
            raise LogUnavailable("The journal is closed.", stored=False)
        if isinstance(entry, StartEntry):
            if self._unavailable:
                raise LogUnavailable("The database is unavailable.", stored=False)
            if self.queued >= self._max_queue:
                raise LogUnavailable("Too much waits to be stored.", stored=False)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(entry, future, self._monotonic()))
        self._wake.set()
        return await future  # a cancellation ends the wait, not the write

    def _on_quiesce(self) -> None:
        self._wake.set()

    def _default_grace(self) -> float:
        return 0.0 if self._unavailable else CLOSE_SECONDS

    async def _on_stop(self) -> None:
        for one in (*self._queue, *self._deferred):
            _reject(one.result, LogUnavailable("The journal was closed.", stored=None))
        self._queue.clear()
        self._deferred.clear()
        await self._writer.close()

    async def _write_batches(self) -> None:
        while True:
            if self._deferred and asyncio.get_running_loop().time() >= self._retry_at:
                await self._retry_deferred()
            if not self._queue:
                if self.quiescing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [self._queue.popleft() for _ in range(self._next_size())]
            began = self._monotonic()
            if await self._store_safely(batch):
                waited, took = began - batch[0].since, self._monotonic() - began
                asyncio.get_running_loop().call_soon(self.on_batch, len(batch), waited, took)

    async def _store_safely(self, batch: list[_Waiting], *, hurried: bool = False) -> bool:
        """Store a batch; whatever goes wrong, each entry of it gets a result or is deferred. Return whether nothing did."""
        try:
            await self._store(batch, hurried=hurried)
        except BaseException as error:
            for one in batch:
                _reject(one.result, LogUnavailable("The journal stopped in the middle of this.", stored=None))
            if not isinstance(error, Exception):
                raise
            _logger.exception("journal_batch_failed", extra={"count": len(batch)})
            return False
        return True

    async def _retry_deferred(self) -> None:
        """Retry the deferred entries, first those that the last round did not reach."""
        loop, waiting = asyncio.get_running_loop(), deque(self._deferred)
        self._deferred, in_vain = [], 0.0
        try:
            while waiting and in_vain < DEFERRED_ROUND_SECONDS:
                began, still = loop.time(), len(self._deferred)
                await self._store_safely([waiting.popleft()], hurried=True)
                if len(self._deferred) > still:
                    in_vain += loop.time() - began
        finally:
            self._deferred = [*waiting, *self._deferred]
        self._locked = {saga_of(one.entry) for one in self._deferred}
        if self._deferred:
            self._retry_in(max(DEFERRED_SECONDS, DEFERRED_SHARE * in_vain))

    def _defer(self, one: _Waiting) -> None:
        saga_id = saga_of(one.entry)
        if saga_id not in self._locked:
            _logger.warning("entry_waits_for_lock", extra={"saga": saga_id})
            self._locked.add(saga_id)
        self._deferred.append(one)
        if len(self._deferred) == 1:
            self._retry_in(DEFERRED_SECONDS)

    def _retry_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._retry_at = loop.time() + seconds
        loop.call_later(seconds, self._wake.set)

    def _next_size(self) -> int:
        waiting = len(self._queue)
        if waiting > HALVED_ABOVE:
            waiting = max(HALVED_ABOVE, waiting // 2)
        return min(waiting, self._max_batch)

    async def _store(self, batch: list[_Waiting], *, hurried: bool = False) -> None:
        """Write a batch until every entry of it has its result, or is deferred."""
        try:
            results = await self._write([one.entry for one in batch], hurried=hurried)
        except _OneByOne:  # one bad entry mustn't take its neighbours along
            for one in batch:
                await self._store([one], hurried=True)
            return
        except _Locked:
            self._defer(batch[0])
            return
        except _Unstorable as error:
            fields = {"saga": saga_of(batch[0].entry), "error": str(error)}
            _logger.error("entry_failed", extra=fields)  # noqa: TRY400 (the database's fault, not a bug)
            _reject(batch[0].result, LogUnavailable(f"This can't be stored: {error}.", stored=None))
            return
        except RejectedBatch as error:
            _logger.warning("entry_refused", extra={"saga": saga_of(batch[0].entry), "error": str(error)})
            results = [LogRefused("The database refuses what is in this entry.")]
        # A turn later: by then the next batch is sent, and needn't wait until these sagas have advanced.
        asyncio.get_running_loop().call_soon(self._resolve, batch, results)
        again = [one for one, result in zip(batch, results, strict=True) if result is None]
        if again:
            await self._store(again, hurried=hurried)

    def _resolve(self, batch: list[_Waiting], results: list[Result | None]) -> None:
        for one, result in zip(batch, results, strict=True):
            if result is not None and not one.result.done():  # its caller may have been cancelled
                one.result.set_result(result)
        self.on_stored(
            [saga_of(one.entry) for one, result in zip(batch, results, strict=True) if type(result) is Stored]
        )

    async def _write(self, entries: list[Entry], *, hurried: bool) -> list[Result | None]:
        pauses, failed, well = _pauses(), _SameFailures(), False
        while True:
            try:
                results = await self._writer.write(entries, hurried=hurried)
            except RejectedBatch as error:
                if len(entries) > 1:
                    raise _OneByOne from error
                raise
            except Exception as error:
                blame = error.blame if isinstance(error, CommitUnknown) else Blame.UNKNOWN
                times = failed.count(error, blame)
                suspect = blame is Blame.LOCK or (blame is Blame.UNKNOWN and times >= SAME_FAILURES)
                if suspect and len(entries) > 1:
                    raise _OneByOne from error
                if suspect and (well or await self._database_accepts_writes()):
                    raise (_Locked if blame is Blame.LOCK else _Unstorable)(str(error)) from error
                self._mark_unavailable(error)
                await asyncio.sleep(next(pauses))
                # It may be what takes the server down each time: it is tried once more when that is up again.
                taking_down = suspect and blame is Blame.UNKNOWN
                while taking_down and not (well := await self._database_accepts_writes()):  # noqa: ASYNC110 (there is no event to wait for)
                    await asyncio.sleep(next(pauses))
            else:
                self._mark_available()
                return results

    async def _database_accepts_writes(self) -> bool:
        """Return whether the database stores anything else, so that this entry is to blame."""
        try:
            await self._writer.probe()
        except Exception as error:  # noqa: BLE001 (any error means that it is unavailable)
            self._mark_unavailable(error)
            return False
        self._mark_available()
        return True

    def _mark_unavailable(self, error: Exception) -> None:
        if not self._unavailable:
            _logger.warning("database_unavailable", extra={"error": str(error)})
        self._unavailable = True

    def _mark_available(self) -> None:
        if self._unavailable:
            _logger.warning("database_available")
        self._unavailable = False


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


class _SameFailures:
    """Counts how often in a row something failed in the same way, leaving out failures to reach the database."""

    def __init__(self) -> None:
        self._last = ""
        self._count = 0

    def count(self, error: Exception, blame: Blame) -> int:
        if blame is Blame.MOMENT:
            return 0
        way = f"{blame} {type(error).__name__} {error}"
        self._count = self._count + 1 if way == self._last else 1
        self._last = way
        return self._count


def _reject(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # mark it retrieved: its waiter may be gone
