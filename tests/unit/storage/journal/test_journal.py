"""Group commit: batches gather by themselves, one bad entry harms no other, and nothing is written twice or lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from app.saga.model.errors import LogRefused, LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.ports.log import NewSaga, Stored
from app.storage.engine.faults import Blame
from app.storage.journal import journal as journals
from app.storage.journal.entries import AppendEntry, CommitUnknown, Entry, RejectedBatch, Result, StartEntry
from app.storage.journal.journal import HALVED_ABOVE, SAME_FAILURES, Journal

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _append(saga_id: str) -> AppendEntry:
    event = SagaEvent(seq=2, at=AT, type=EventType.STEP_SUCCEEDED, step="payment")
    return AppendEntry(saga_id=saga_id, epoch=1, events=(event,), change=None)


def _start(saga_id: str) -> StartEntry:
    event = SagaEvent(seq=1, at=AT, type=EventType.SAGA_STARTED)
    return StartEntry(saga=NewSaga(id=saga_id, definition="one", version=1), event=event, owner="me")


class _Writer:
    """Notes the batches; `gate` holds each one back until it is opened."""

    def __init__(self, trouble: Callable[[list[str]], None] = lambda _: None) -> None:
        self.batches: list[list[str]] = []
        self.hurried: list[bool] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._trouble = trouble

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def probe(self) -> None:
        self._trouble([])

    async def write(self, batch: Sequence[Entry], *, hurried: bool = False) -> list[Result | None]:
        ids = [entry.saga_id if isinstance(entry, AppendEntry) else entry.saga.id for entry in batch]
        self.batches.append(ids)
        self.hurried.append(hurried)
        await self.gate.wait()
        self._trouble(ids)
        return [Stored() for _ in batch]


async def _opened(writer: _Writer, *, max_batch: int = 256, max_queue: int = 100) -> Journal:
    journal = Journal(writer, max_batch=max_batch, max_queue=max_queue)
    await journal.start()
    return journal


async def _soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_next_batch_gathers_while_one_is_being_committed() -> None:
    """No timer decides: a lone append is written at once, and company makes a batch."""
    writer = _Writer()
    writer.gate.clear()
    journal = await _opened(writer)
    first = asyncio.create_task(journal.write(_append("a")))
    await _soon()
    rest = [asyncio.create_task(journal.write(_append(name))) for name in "bcd"]
    await _soon()
    writer.gate.set()
    await asyncio.gather(first, *rest)
    assert writer.batches == [["a"], ["b", "c", "d"]]
    await journal.stop()


async def test_a_batch_is_never_larger_than_its_bound() -> None:
    """A transaction of bounded size is one that ends."""
    writer = _Writer()
    journal = await _opened(writer, max_batch=2)
    await asyncio.gather(*(journal.write(_append(name)) for name in "abcde"))
    assert max(len(batch) for batch in writer.batches) == 2
    await journal.stop()


async def test_a_long_queue_is_written_in_halves() -> None:
    """While the one half is being committed, the sagas of the other move on; a short queue isn't worth two commits."""
    writer = _Writer()
    writer.gate.clear()
    journal = await _opened(writer, max_queue=1000)
    first = asyncio.create_task(journal.write(_append("first")))
    await _soon()
    rest = [asyncio.create_task(journal.write(_append(str(n)))) for n in range(4 * HALVED_ABOVE)]
    await _soon()
    writer.gate.set()
    await asyncio.gather(first, *rest)
    assert [len(batch) for batch in writer.batches] == [1, 2 * HALVED_ABOVE, HALVED_ABOVE, HALVED_ABOVE]
    assert [name for batch in writer.batches[1:] for name in batch] == [
        str(n) for n in range(4 * HALVED_ABOVE)
    ]
    await journal.stop()


class _SendsLater(_Writer):
    """Sends from a task of its own, as the one for PostgreSQL does."""

    def __init__(self, happened: list[str]) -> None:
        super().__init__()
        self._happened = happened

    async def write(self, batch: Sequence[Entry], *, hurried: bool = False) -> list[Result | None]:
        await asyncio.create_task(self._send())
        return await super().write(batch, hurried=hurried)

    async def _send(self) -> None:
        self._happened.append("sent")


async def test_the_next_batch_is_on_its_way_before_the_sagas_of_the_last_one_move_on() -> None:
    """They take their time, in which the database would stand idle."""
    happened: list[str] = []
    journal = await _opened(_SendsLater(happened))

    async def saga(name: str) -> None:
        await journal.write(_append(name))
        happened.append("moved on")

    await asyncio.gather(*(saga(str(n)) for n in range(2 * HALVED_ABOVE)))
    assert happened == ["sent"] * 2 + ["moved on"] * 2 * HALVED_ABOVE
    await journal.stop()


async def _two_writers_gone(journal: Journal) -> None:
    """Leave the journal with one batch under way, one in the queue, and nobody who waits for either."""
    writers = []
    for name in "ab":
        writers.append(asyncio.create_task(journal.write(_append(name))))
        await _soon()
    for one in writers:
        one.cancel()


async def test_a_waiter_that_leaves_does_not_take_its_write_along() -> None:
    """A request that is cancelled never cancels its saga."""
    writer = _Writer()
    writer.gate.clear()
    journal = await _opened(writer)
    await _two_writers_gone(journal)
    writer.gate.set()
    await journal.write(_append("c"))
    assert [name for batch in writer.batches for name in batch] == ["a", "b", "c"]
    await journal.stop()


async def test_a_closing_journal_writes_what_nobody_waits_for_any_more() -> None:
    """A saga's task is cancelled when the process stops; what its step was answered is worth keeping."""
    writer = _Writer()
    writer.gate.clear()
    journal = await _opened(writer)
    await _two_writers_gone(journal)
    closing = asyncio.create_task(journal.stop())
    await _soon()
    writer.gate.set()
    await closing
    assert writer.batches == [["a"], ["b"]]


async def test_each_batch_tells_how_long_its_first_entry_waited() -> None:
    """Also the second half of a long queue. The clock goes on by one second each time that it is asked."""
    told: list[tuple[int, float, float]] = []
    clock = itertools.count()
    journal = Journal(_Writer(), monotonic=lambda: float(next(clock)))
    await journal.start()
    journal.on_batch = lambda *batch: told.append(batch)
    await asyncio.gather(*(journal.write(_append(str(n))) for n in range(2 * HALVED_ABOVE)))
    # The entries came at 0 to 63; the first half was begun at 64 and done at 65, the second begun at 66.
    assert told == [(HALVED_ABOVE, 64.0, 1.0), (HALVED_ABOVE, 66.0 - HALVED_ABOVE, 1.0)]
    await journal.stop()


async def test_one_bad_entry_is_refused_and_its_neighbours_are_stored() -> None:
    """The batch is written again one by one, so that only the bad one is refused."""

    def trouble(ids: list[str]) -> None:
        if "bad" in ids:
            raise RejectedBatch("no")

    journal = await _opened(_Writer(trouble))
    results = await asyncio.gather(*(journal.write(_append(name)) for name in ("a", "bad", "c")))
    assert [type(result) for result in results] == [Stored, LogRefused, Stored]
    await journal.stop()


async def test_an_interrupted_batch_is_written_again_until_it_is_stored() -> None:
    """A connection that breaks, also in COMMIT, loses nothing: the same batch comes again."""
    left = [1, 2]

    def trouble(_ids: list[str]) -> None:
        if left:
            left.pop()
            raise CommitUnknown("gone")

    writer = _Writer(trouble)
    journal = await _opened(writer)
    assert isinstance(await journal.write(_append("a")), Stored)
    assert writer.batches == [["a"]] * 3
    await journal.stop()


async def test_while_the_database_is_away_a_new_saga_is_refused_at_once() -> None:
    """It says that nothing was stored; an append of a saga under way waits instead."""
    away = [True]
    writer = _Writer(lambda _: _raise_if(away))
    journal = await _opened(writer)
    waiting = asyncio.create_task(journal.write(_append("a")))
    await _soon()
    assert writer.batches == [["a"]]
    with pytest.raises(LogUnavailable) as refused:
        await journal.write(_start("b"))
    assert refused.value.stored is False
    assert not waiting.done()
    assert journal.unavailable
    away.clear()
    assert isinstance(await waiting, Stored)
    assert not journal.unavailable
    await journal.stop()


def _raise_if(away: list[bool]) -> None:
    if away:
        raise CommitUnknown("away")


async def test_a_full_queue_refuses_a_new_saga_and_never_an_append() -> None:
    """What is under way goes ahead of what is new."""
    writer = _Writer()
    writer.gate.clear()
    journal = await _opened(writer, max_queue=1)
    first = asyncio.create_task(journal.write(_start("a")))
    await _soon()
    second = asyncio.create_task(journal.write(_append("b")))
    await _soon()
    with pytest.raises(LogUnavailable, match="Too much waits"):
        await journal.write(_start("c"))
    third = asyncio.create_task(journal.write(_append("d")))
    await _soon()
    writer.gate.set()
    await asyncio.gather(first, second, third)
    await journal.stop()


async def test_a_closed_journal_says_so() -> None:
    """Nobody waits for ever on a process that ends."""
    journal = await _opened(_Writer())
    await journal.stop()
    with pytest.raises(LogUnavailable, match="closed"):
        await journal.write(_append("a"))


async def test_whatever_the_driver_raises_the_journal_lives_on() -> None:
    """A journal that died would leave every saga of the process waiting for ever."""
    left = [KeyError("a driver's own bug")]

    def trouble(_ids: list[str]) -> None:
        if left:
            raise left.pop()

    journal = await _opened(_Writer(trouble))
    assert isinstance(await journal.write(_append("a")), Stored)
    await journal.stop()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the journal's pauses take no time."""
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "DEFERRED_SECONDS", "DEFERRED_SHARE"):
        monkeypatch.setattr(journals, name, 0.0)


def _breaks_on_bad(ids: list[str]) -> None:
    if "bad" in ids:
        raise CommitUnknown("the connection broke", blame=Blame.UNKNOWN)


@pytest.mark.usefixtures("at_once")
async def test_an_entry_that_breaks_each_batch_is_found_and_given_up_alone() -> None:
    """Nobody knows why it breaks, but others are stored: what became of it nobody can tell, so its saga is given up."""
    writer = _Writer(_breaks_on_bad)
    journal = await _opened(writer)
    outcome = await asyncio.gather(
        *(journal.write(_append(name)) for name in ("a", "bad", "c")), return_exceptions=True
    )
    assert [type(one) for one in outcome] == [Stored, LogUnavailable, Stored]
    assert isinstance(outcome[1], LogUnavailable)
    assert outcome[1].stored is None
    assert writer.batches[:SAME_FAILURES] == [["a", "bad", "c"]] * SAME_FAILURES
    assert not journal.unavailable
    assert isinstance(await journal.write(_start("d")), Stored)
    await journal.stop()


@pytest.mark.usefixtures("at_once")
async def test_a_bad_entry_without_neighbours_does_not_close_the_shop() -> None:
    """At night there is no other entry that shows that the database is well, so the journal tries it itself."""
    journal = await _opened(_Writer(_breaks_on_bad))
    with pytest.raises(LogUnavailable) as given_up:
        await journal.write(_append("bad"))
    assert given_up.value.stored is None
    assert not journal.unavailable
    await journal.stop()


@pytest.mark.usefixtures("at_once")
async def test_an_entry_that_takes_the_server_down_each_time_is_found_as_well() -> None:
    """After each try nobody can be asked for a while, and that is not what the entry is known by."""
    coming_up = 0

    def trouble(ids: list[str]) -> None:
        nonlocal coming_up
        if coming_up:
            coming_up -= 1
            raise CommitUnknown("the database system is in recovery mode")
        if "bad" in ids:
            coming_up = 3
            raise CommitUnknown("the connection broke", blame=Blame.UNKNOWN)

    journal = await _opened(_Writer(trouble))
    async with asyncio.timeout(60):
        outcome = await asyncio.gather(
            *(journal.write(_append(name)) for name in ("a", "bad", "c")), return_exceptions=True
        )
    assert [type(one) for one in outcome] == [Stored, LogUnavailable, Stored]
    assert not journal.unavailable
    await journal.stop()


@pytest.mark.usefixtures("at_once")
async def test_while_nothing_else_can_be_stored_no_entry_is_to_blame() -> None:
    """It fails in the same way for as long as it takes, and is stored when the database is back."""
    tries = itertools.count()

    def trouble(_ids: list[str]) -> None:
        if next(tries) < 10 * SAME_FAILURES:
            raise CommitUnknown("the connection broke", blame=Blame.UNKNOWN)

    journal = await _opened(_Writer(trouble))
    assert isinstance(await journal.write(_append("a")), Stored)
    await journal.stop()


@pytest.mark.usefixtures("at_once")
async def test_a_batch_that_waits_for_the_database_as_a_whole_stays_whole() -> None:
    """A full disk is nobody's fault."""
    tries = itertools.count()

    def trouble(_ids: list[str]) -> None:
        if next(tries) < 10 * SAME_FAILURES:
            raise CommitUnknown("disk full")

    writer = _Writer(trouble)
    journal = await _opened(writer)
    await asyncio.gather(*(journal.write(_append(name)) for name in "ab"))
    assert [len(batch) for batch in writer.batches] == [2] * (10 * SAME_FAILURES + 1)
    await journal.stop()


@pytest.mark.usefixtures("at_once")
async def test_an_entry_that_waits_for_a_lock_holds_up_nobody_else() -> None:
    """It is put aside, hurried from then on, and stored once the lock is gone."""
    held = [True]

    def trouble(ids: list[str]) -> None:
        if held and "locked" in ids:
            raise CommitUnknown("lock_not_available", blame=Blame.LOCK)

    writer = _Writer(trouble)
    journal = await _opened(writer)
    waiting = [asyncio.create_task(journal.write(_append(name))) for name in ("a", "locked", "c")]
    assert isinstance(await waiting[0], Stored)
    assert isinstance(await waiting[2], Stored)
    assert isinstance(await journal.write(_start("d")), Stored)
    assert not waiting[1].done()
    assert journal.queued == 1
    held.clear()
    assert isinstance(await waiting[1], Stored)
    assert journal.queued == 0
    assert [hurried for ids, hurried in zip(writer.batches, writer.hurried, strict=True) if ids == ["locked"]]
    await journal.stop()


async def test_many_that_wait_for_one_transaction_are_stored_soon_after_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has locked all their rows: a hundred tries in vain, at one go, would have to be paid for with minutes."""
    loop, held, tried = asyncio.get_running_loop(), [True], set[str]()
    passed, counted = 0.0, loop.time
    monkeypatch.setattr(loop, "time", lambda: counted() + passed)

    def trouble(ids: list[str]) -> None:
        nonlocal passed
        if held and ids:
            passed += 0.2
            tried.update(ids)
            raise CommitUnknown("lock_not_available", blame=Blame.LOCK)

    journal = await _opened(_Writer(trouble))
    waiting = [asyncio.create_task(journal.write(_append(str(number)))) for number in range(100)]
    while len(journal._deferred) < len(waiting):  # noqa: ASYNC110 (the journal tells nobody)
        await asyncio.sleep(0)
    tried.clear()
    for _ in range(30):
        assert journal._retry_at - loop.time() <= 15
        passed += 15
        journal._wake.set()
        for _ in range(5):
            await _soon()
    assert len(tried) == len(waiting), "each has its turn"
    held.clear()
    passed += 15
    journal._wake.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)
    await journal.stop()


async def test_what_was_put_aside_is_told_when_the_journal_closes() -> None:
    """Nobody waits on for ever."""

    def trouble(ids: list[str]) -> None:
        if "locked" in ids:
            raise CommitUnknown("lock_not_available", blame=Blame.LOCK)

    journal = await _opened(_Writer(trouble))
    waiting = asyncio.create_task(journal.write(_append("locked")))
    while not journal._deferred:  # noqa: ASYNC110 (the journal tells nobody)
        await asyncio.sleep(0)
    await journal.stop()
    with pytest.raises(LogUnavailable) as closed:
        await waiting
    assert closed.value.stored is None
