"""However many wait for other replicas' sagas, they are read together, and each saga itself once it is inactive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import ExitStack

import pytest

from app.operations import saga_waits
from app.operations.saga_waits import SagaWaits
from app.saga import LogUnavailable, MemoryLog
from app.saga.ports.changes import Change, ChangeKind, Subscriber
from tests.queries import QueriesOfLog

SLOW = 3600.0
LIMIT = 20.0
SAGAS = [f"saga-{n}" for n in range(200)]


class Asked(QueriesOfLog):
    """Queries that note what they were asked; sagas become inactive as a test says."""

    def __init__(self) -> None:
        super().__init__(MemoryLog())
        self.asked: list[set[str]] = []
        self.ended: set[str] = set()
        self.broken: Exception | None = None
        self.answered = asyncio.Condition()

    async def inactive(self, saga_ids: Collection[str]) -> set[str]:
        self.asked.append(set(saga_ids))
        async with self.answered:
            self.answered.notify_all()
        if self.broken is not None:
            raise self.broken
        return self.ended & set(saga_ids)

    async def times(self, count: int) -> None:
        """Return once it was asked so often."""
        async with asyncio.timeout(LIMIT), self.answered:
            await self.answered.wait_for(lambda: len(self.asked) >= count)


class Reports:
    """A `ChangeSource` that reports what a test says."""

    live = True

    def __init__(self) -> None:
        self.subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        self.subscribers.append(subscriber)
        return lambda: self.subscribers.remove(subscriber)

    def report(self, *saga_ids: str) -> None:
        for subscriber in tuple(self.subscribers):
            subscriber(Change(kind=ChangeKind.EVENTS, saga_ids=frozenset(saga_ids) or None, elsewhere=True))


async def test_all_who_wait_share_each_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_waits, "POLL_SECONDS", 0.01)
    queries, reports = Asked(), Reports()
    reports.live = False
    waits = SagaWaits(queries, reports)
    with ExitStack() as stack:
        inactive = [stack.enter_context(waits.until_inactive(one)) for one in SAGAS]
        await queries.times(3)
        assert all(asked == set(SAGAS) for asked in queries.asked)
        queries.ended = set(SAGAS)
        await asyncio.wait(inactive, timeout=LIMIT)
        assert all(one.done() for one in inactive)


async def test_a_report_reads_what_it_tells_of_and_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_waits, "POLL_SECONDS", SLOW)
    queries, reports = Asked(), Reports()
    waits = SagaWaits(queries, reports)
    with ExitStack() as stack:
        inactive = {one: stack.enter_context(waits.until_inactive(one)) for one in SAGAS}
        await queries.times(1)
        queries.ended = {"saga-3", "saga-4"}
        reports.report("saga-3", "somebody's")
        await queries.times(2)
        assert queries.asked == [
            set(SAGAS),
            {"saga-3"},
        ]  # all of them first: an earlier report may have been missed
        await asyncio.wait_for(asyncio.shield(inactive["saga-3"]), LIMIT)
        assert not inactive["saga-4"].done()
        reports.report()  # it was not heard for a while: any may have changed
        await asyncio.wait_for(asyncio.shield(inactive["saga-4"]), LIMIT)
        assert len(queries.asked) == 3


async def test_while_the_log_cannot_be_read_those_who_wait_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_waits, "POLL_SECONDS", SLOW)
    queries = Asked()
    queries.broken = LogUnavailable("away")
    with SagaWaits(queries, Reports()).until_inactive("saga-1") as inactive, pytest.raises(LogUnavailable):
        await asyncio.wait_for(inactive, LIMIT)


async def test_nothing_is_read_and_nothing_heard_once_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_waits, "POLL_SECONDS", SLOW)
    queries, reports = Asked(), Reports()
    waits = SagaWaits(queries, reports)
    for _ in range(2):
        with waits.until_inactive("saga-1"):
            await queries.times(1)
            assert len(reports.subscribers) == 1
        async with asyncio.timeout(LIMIT):
            while reports.subscribers:  # noqa: ASYNC110 (the end of a task that nobody awaits)
                await asyncio.sleep(0)
        queries.asked.clear()
