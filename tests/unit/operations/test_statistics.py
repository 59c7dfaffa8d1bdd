"""The recent past: told right, and asked for once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.operations.statistics import MINUTE, Statistics
from app.saga.model.state import SagaStatus
from app.saga.ports.queries import DURATION_EDGES, BucketCount
from tests.builders import VirtualClock

HOUR = timedelta(hours=1)


class FeedItem:
    """A past as a test tells it, which notes what it was asked."""

    def __init__(self) -> None:
        self.sagas: list[BucketCount] = []
        self.asked: list[tuple[datetime, datetime]] = []

    def began(
        self, minute: datetime, status: SagaStatus, *, sagas: int = 1, seconds: float | None = None
    ) -> None:
        slot = None
        if seconds is not None:
            slot = next(
                (at for at, edge in enumerate(DURATION_EDGES) if seconds <= edge), len(DURATION_EDGES)
            )
        self.sagas.append(BucketCount(minute=minute, status=status, slot=slot, sagas=sagas))

    async def tallies(self, *, after: datetime, before: datetime, caller: str | None) -> list[BucketCount]:
        assert caller in {None, "shop"}
        self.asked.append((after, before))
        return [one for one in self.sagas if after <= one.minute < before]

    async def unfinished(self, *, caller: str | None) -> Mapping[SagaStatus, int]:
        raise NotImplementedError(caller)

    async def newest(self) -> str | None:
        raise NotImplementedError


def a_past() -> tuple[FeedItem, VirtualClock, Statistics, datetime]:
    told, clock = FeedItem(), VirtualClock()
    now = clock.now()
    this_minute = now - timedelta(seconds=now.timestamp() % 60)
    return told, clock, Statistics(told, now=clock.now, fresh_seconds=2.0), this_minute


async def test_every_minute_of_the_hour_is_there_once() -> None:
    """The newest last, also those in which nothing began; what is older isn't."""
    told, _, history, minute = a_past()
    told.began(minute, SagaStatus.COMPLETED, sagas=3, seconds=0.4)
    told.began(minute - 59 * MINUTE, SagaStatus.COMPENSATED, sagas=2, seconds=3)
    told.began(minute - 60 * MINUTE, SagaStatus.COMPLETED, sagas=7, seconds=1)
    slices = await history.slices(HOUR, MINUTE, caller=None)
    assert [one.begin for one in slices] == [minute - n * MINUTE for n in reversed(range(60))]
    assert [one.sagas for one in slices] == [2, *[0] * 58, 3]
    assert (slices[-1].took(0.5), slices[0].took(0.5), slices[1].took(0.5)) == (0.5, 5.0, None)


async def test_a_day_is_told_in_quarters_of_an_hour() -> None:
    """A slice holds what its minutes hold."""
    told, _, history, minute = a_past()
    quarter = minute - timedelta(seconds=minute.timestamp() % 900)
    for back in range(1, 16):
        told.began(quarter - back * MINUTE, SagaStatus.COMPLETED, sagas=back, seconds=0.1)
    slices = await history.slices(timedelta(days=1), 15 * MINUTE, caller=None)
    assert len(slices) == 96
    assert (slices[-2].begin, slices[-2].sagas) == (quarter - 15 * MINUTE, sum(range(1, 16)))
    assert sum(one.sagas for one in slices) == slices[-2].sagas


async def test_what_can_no_longer_change_is_asked_for_once() -> None:
    """However many look, and however often: old minutes with unfinished sagas alone are asked again."""
    told, clock, history, minute = a_past()
    told.began(minute - 30 * MINUTE, SagaStatus.COMPLETED, seconds=1)
    told.began(minute - 20 * MINUTE, SagaStatus.RUNNING)
    await history.slices(HOUR, MINUTE, caller=None)
    told.asked.clear()
    await history.slices(HOUR, MINUTE, caller=None)
    assert told.asked == []
    clock.advance(5)
    told.sagas[1] = BucketCount(minute=minute - 20 * MINUTE, status=SagaStatus.COMPLETED, slot=3, sagas=1)
    slices = await history.slices(HOUR, MINUTE, caller=None)
    assert {status: sum(one.by_status[status] for one in slices) for status in SagaStatus} == {
        **dict.fromkeys(SagaStatus, 0),
        SagaStatus.COMPLETED: 2,
    }
    assert (minute - 20 * MINUTE, minute - 19 * MINUTE) in told.asked
    assert not any(after <= minute - 30 * MINUTE < before for after, before in told.asked)


async def test_after_a_pause_nothing_is_missing() -> None:
    """Nobody looked for half an hour: the minutes since are asked for."""
    told, clock, history, minute = a_past()
    await history.slices(HOUR, MINUTE, caller=None)
    clock.advance(1800)
    told.began(minute + 7 * MINUTE, SagaStatus.COMPLETED, sagas=5, seconds=1)
    slices = await history.slices(HOUR, MINUTE, caller=None)
    assert [one.sagas for one in slices if one.sagas] == [5]


async def test_the_hour_is_part_of_the_day() -> None:
    """Who has looked at the hour asks for the rest of the day alone."""
    told, _, history, minute = a_past()
    told.began(minute - 5 * HOUR, SagaStatus.COMPLETED, sagas=2, seconds=1)
    await history.slices(HOUR, MINUTE, caller=None)
    told.asked.clear()
    slices = await history.slices(timedelta(days=1), 15 * MINUTE, caller=None)
    assert sum(one.sagas for one in slices) == 2
    assert all(before <= minute - 59 * MINUTE for _, before in told.asked)


async def test_each_caller_has_a_past_of_its_own() -> None:
    """What is kept of one is never shown to another."""
    told, _, history, minute = a_past()
    told.began(minute, SagaStatus.COMPLETED, seconds=1)
    assert sum(one.sagas for one in await history.slices(HOUR, MINUTE, caller=None)) == 1
    told.sagas.clear()
    assert sum(one.sagas for one in await history.slices(HOUR, MINUTE, caller="shop")) == 0


async def test_shares_are_told_by_the_edge_above() -> None:
    """Half took at most so long, 99 of 100 at most so long; beyond the last edge it is infinite."""
    told, _, history, minute = a_past()
    told.began(minute, SagaStatus.COMPLETED, sagas=98, seconds=0.04)
    told.began(minute, SagaStatus.COMPLETED, sagas=1, seconds=9)
    told.began(minute, SagaStatus.COMPENSATED, sagas=1, seconds=1e6)
    one = (await history.slices(HOUR, MINUTE, caller=None))[-1]
    assert (one.took(0.5), one.took(0.99), one.took(1)) == (0.05, 10.0, float("inf"))
