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

One entry mustn't hold up the others, whatever is wrong with it. A batch that the database refuses for what is in
it, that waits for a lock, or that fails `ALIKE` times in the same way, is written again one by one:

    refused for what is in it           answered `LogRefused`
    somebody holds a lock that it needs put aside, and tried again beside the others until it is free
    fails `ALIKE` times for no known    answered `LogUnavailable`, as nobody can tell what became of it; its saga
    reason, and others are stored       is given up and taken over anew; also where it takes the server down each time
    the database as a whole is away     all wait for it
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from app.saga.engine.lifecycle import Lifecycle
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

ALIKE = 3
"""How often a batch fails in the same way, for no known reason, before it is written one by one."""

ASIDE_SECONDS = 1.0
ASIDE_SHARE = 10.0
"""What was put aside is tried again after this pause, and never takes more than a tenth of the journal's time."""

ASIDE_ROUND_SECONDS = 1.0
"""So long is waited in vain at one go. Many may wait for one transaction: once it has ended, none waits for long."""

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
    """Somebody else holds a lock that this one entry needs."""


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
        self._aside: list[_Waiting] = []
        self._again_at = 0.0
        self._locked: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._interrupted = False
        self.on_batch: Callable[[int, float, float], None] = lambda _size, _waited, _took: None
        self.on_stored: Callable[[Sequence[str]], None] = lambda _saga_ids: None

    @property
    def queued(self) -> int:
        """How much waits for its turn."""
        return len(self._queue) + len(self._aside)

    @property
    def away(self) -> bool:
        """Whether the database took nothing at the last try; what waits is being tried again."""
        return self._interrupted

    async def _on_start(self) -> None:
        self._interrupted = False
        try:
            await self._writer.open()
        except CommitUnknown as error:
            raise LogUnavailable(f"The database can't be reached: {error}") from error
        self._task = self._spawn(self._write_batches())

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
            if self.queued >= self._max_queue:
                raise LogUnavailable("Too much waits to be stored.", stored=False)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(entry, future, self._monotonic()))
        self._wake.set()
        return await future  # which a cancellation ends, and not the entry

    def _on_quiesce(self) -> None:
        self._wake.set()

    def _default_grace(self) -> float:
        return 0.0 if self._interrupted else CLOSE_SECONDS

    async def _on_stop(self) -> None:
        for one in (*self._queue, *self._aside):
            _reject(one.result, LogUnavailable("The journal was closed.", stored=None))
        self._queue.clear()
        self._aside.clear()
        await self._writer.close()

    async def _write_batches(self) -> None:
        while True:
            if self._aside and asyncio.get_running_loop().time() >= self._again_at:
                await self._try_aside()
            if not self._queue:
                if self.quiescing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [self._queue.popleft() for _ in range(self._next_size())]
            began = self._monotonic()
            if await self._kept(batch):
                waited, took = began - batch[0].since, self._monotonic() - began
                asyncio.get_running_loop().call_soon(self.on_batch, len(batch), waited, took)

    async def _kept(self, batch: list[_Waiting], *, hurried: bool = False) -> bool:
        """Store a batch; whatever goes wrong, each entry of it is answered or put aside. Return whether nothing did."""
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

    async def _try_aside(self) -> None:
        """Try again what was put aside, those first whose turn didn't come the last time."""
        loop, waiting = asyncio.get_running_loop(), deque(self._aside)
        self._aside, in_vain = [], 0.0
        try:
            while waiting and in_vain < ASIDE_ROUND_SECONDS:
                began, still = loop.time(), len(self._aside)
                await self._kept([waiting.popleft()], hurried=True)
                if len(self._aside) > still:
                    in_vain += loop.time() - began
        finally:
            self._aside = [*waiting, *self._aside]
        self._locked = {saga_of(one.entry) for one in self._aside}
        if self._aside:
            self._again_later(max(ASIDE_SECONDS, ASIDE_SHARE * in_vain))

    def _put_aside(self, one: _Waiting) -> None:
        saga_id = saga_of(one.entry)
        if saga_id not in self._locked:
            _logger.warning("entry_waits_for_lock", extra={"saga": saga_id})
            self._locked.add(saga_id)
        self._aside.append(one)
        if len(self._aside) == 1:
            self._again_later(ASIDE_SECONDS)

    def _again_later(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._again_at = loop.time() + seconds
        loop.call_later(seconds, self._wake.set)

    def _next_size(self) -> int:
        waiting = len(self._queue)
        if waiting > HALVED_ABOVE:
            waiting = max(HALVED_ABOVE, waiting // 2)
        return min(waiting, self._max_batch)

    async def _store(self, batch: list[_Waiting], *, hurried: bool = False) -> None:
        """Write a batch until every entry of it has its result, or was put aside."""
        try:
            results = await self._write([one.entry for one in batch], hurried=hurried)
        except _OneByOne:  # one bad entry mustn't take its neighbours along
            for one in batch:
                await self._store([one], hurried=True)
            return
        except _Locked:
            self._put_aside(batch[0])
            return
        except _Unstorable as error:
            fields = {"saga": saga_of(batch[0].entry), "error": str(error)}
            _logger.error("entry_failed", extra=fields)  # noqa: TRY400 (the database's fault, not a bug)
            _reject(batch[0].result, LogUnavailable(f"This can't be stored: {error}.", stored=None))
            return
        except RejectedBatch as error:
            _logger.warning("entry_refused", extra={"saga": saga_of(batch[0].entry), "error": str(error)})
            results = [LogRefused("The database refuses what is in this entry.")]
        # A turn later: by then the next batch is on its way, and needn't wait until these sagas have moved on.
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
        pauses, failed, well = _pauses(), _Alike(), False
        while True:
            try:
                results = await self._writer.write(entries, hurried=hurried)
            except RejectedBatch as error:
                if len(entries) > 1:
                    raise _OneByOne from error
                raise
            except Exception as error:
                blame = error.blame if isinstance(error, CommitUnknown) else Blame.UNKNOWN
                alike = failed.once_more(error, blame)
                suspect = blame is Blame.LOCK or (blame is Blame.UNKNOWN and alike >= ALIKE)
                if suspect and len(entries) > 1:
                    raise _OneByOne from error
                if suspect and (well or await self._takes_others()):
                    raise (_Locked if blame is Blame.LOCK else _Unstorable)(str(error)) from error
                self._is_away(error)
                await asyncio.sleep(next(pauses))
                # It may be what takes the server down each time: it is tried once more when that is up again.
                taking_down = suspect and blame is Blame.UNKNOWN
                while taking_down and not (well := await self._takes_others()):  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(next(pauses))
            else:
                self._is_back()
                return results

    async def _takes_others(self) -> bool:
        """Whether the database stores anything else, so that it is this entry's fault that it doesn't store that."""
        try:
            await self._writer.probe()
        except Exception as error:  # noqa: BLE001 (whatever it is, the database isn't well)
            self._is_away(error)
            return False
        self._is_back()
        return True

    def _is_away(self, error: Exception) -> None:
        if not self._interrupted:
            _logger.warning("database_unavailable", extra={"error": str(error)})
        self._interrupted = True

    def _is_back(self) -> None:
        if self._interrupted:
            _logger.warning("database_available")
        self._interrupted = False


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


class _Alike:
    """Counts how often in a row something failed in the same way; not how often there was nobody to ask meanwhile."""

    def __init__(self) -> None:
        self._last = ""
        self._count = 0

    def once_more(self, error: Exception, blame: Blame) -> int:
        if blame is Blame.MOMENT:
            return 0
        way = f"{blame} {type(error).__name__} {error}"
        self._count = self._count + 1 if way == self._last else 1
        self._last = way
        return self._count


def _reject(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # its waiter may have left
