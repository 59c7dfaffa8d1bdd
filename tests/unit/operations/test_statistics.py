"""Figures of the recent past: counted correctly, and queried once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.operations.statistics import MINUTE, Statistics
from app.saga.model.status import SagaStatus
from app.saga.ports.queries import DURATION_EDGES, BucketCount
from tests.builders import VirtualClock

HOUR = timedelta(hours=1)


class FakeQueries:
    """Scripted counts, which record the queries."""

    def __init__(self) -> None:
        self.sagas: list[BucketCount] = []
        self.asked: list[tuple[datetime, datetime]] = []

    def began(
        self, minute: datetime, status: SagaStatus, *, sagas: int = 1, seconds: float | None = None
    ) -> None:
        bucket = None
        if seconds is not None:
            bucket = next(
                (at for at, edge in enumerate(DURATION_EDGES) if seconds <= edge), len(DURATION_EDGES)
            )
        self.sagas.append(BucketCount(minute=minute, status=status, duration_bucket=bucket, sagas=sagas))

    async def counts_by_minute(
        self, *, after: datetime, before: datetime, caller: str | None
    ) -> list[BucketCount]:
        assert caller in {None, "shop"}
        self.asked.append((after, before))
        return [one for one in self.sagas if after <= one.minute < before]

    async def unfinished(self, *, caller: str | None) -> Mapping[SagaStatus, int]:
        raise NotImplementedError(caller)

    async def newest(self) -> str | None:
        raise NotImplementedError


def a_past() -> tuple[FakeQueries, VirtualClock, Statistics, datetime]:
    queries, clock = FakeQueries(), VirtualClock()
    now = clock.now()
    this_minute = now - timedelta(seconds=now.timestamp() % 60)
    return queries, clock, Statistics(queries, now=clock.now, fresh_seconds=2.0), this_minute


async def test_an_hour_has_one_bucket_for_each_minute() -> None:
    """The newest last, empty ones included, and no older one."""
    queries, _, statistics, minute = a_past()
    queries.began(minute, SagaStatus.COMPLETED, sagas=3, seconds=0.4)
    queries.began(minute - 59 * MINUTE, SagaStatus.COMPENSATED, sagas=2, seconds=3)
    queries.began(minute - 60 * MINUTE, SagaStatus.COMPLETED, sagas=7, seconds=1)
    buckets = await statistics.buckets(HOUR, MINUTE, caller=None)
    assert [one.start for one in buckets] == [minute - n * MINUTE for n in reversed(range(60))]
    assert [one.sagas for one in buckets] == [2, *[0] * 58, 3]
    assert (buckets[-1].quantile(0.5), buckets[0].quantile(0.5), buckets[1].quantile(0.5)) == (0.5, 5.0, None)


async def test_a_day_has_buckets_of_a_quarter_of_an_hour() -> None:
    """A bucket is the sum of its minutes."""
    queries, _, statistics, minute = a_past()
    quarter = minute - timedelta(seconds=minute.timestamp() % 900)
    for back in range(1, 16):
        queries.began(quarter - back * MINUTE, SagaStatus.COMPLETED, sagas=back, seconds=0.1)
    buckets = await statistics.buckets(timedelta(days=1), 15 * MINUTE, caller=None)
    assert len(buckets) == 96
    assert (buckets[-2].start, buckets[-2].sagas) == (quarter - 15 * MINUTE, sum(range(1, 16)))
    assert sum(one.sagas for one in buckets) == buckets[-2].sagas


async def test_a_minute_that_can_no_longer_change_is_queried_once() -> None:
    """However often the page is shown; of the old minutes only those with unfinished sagas are queried again."""
    queries, clock, statistics, minute = a_past()
    queries.began(minute - 30 * MINUTE, SagaStatus.COMPLETED, seconds=1)
    queries.began(minute - 20 * MINUTE, SagaStatus.RUNNING)
    await statistics.buckets(HOUR, MINUTE, caller=None)
    queries.asked.clear()
    await statistics.buckets(HOUR, MINUTE, caller=None)
    assert queries.asked == []
    clock.advance(5)
    queries.sagas[1] = BucketCount(
        minute=minute - 20 * MINUTE, status=SagaStatus.COMPLETED, duration_bucket=3, sagas=1
    )
    buckets = await statistics.buckets(HOUR, MINUTE, caller=None)
    assert {status: sum(one.by_status[status] for one in buckets) for status in SagaStatus} == {
        **dict.fromkeys(SagaStatus, 0),
        SagaStatus.COMPLETED: 2,
    }
    assert (minute - 20 * MINUTE, minute - 19 * MINUTE) in queries.asked
    assert not any(after <= minute - 30 * MINUTE < before for after, before in queries.asked)


async def test_after_a_pause_nothing_is_missing() -> None:
    """Without a page open for half an hour, the minutes since are queried."""
    queries, clock, statistics, minute = a_past()
    await statistics.buckets(HOUR, MINUTE, caller=None)
    clock.advance(1800)
    queries.began(minute + 7 * MINUTE, SagaStatus.COMPLETED, sagas=5, seconds=1)
    buckets = await statistics.buckets(HOUR, MINUTE, caller=None)
    assert [one.sagas for one in buckets if one.sagas] == [5]


async def test_the_hour_is_part_of_the_day() -> None:
    """After the hour was queried, only the rest of the day is."""
    queries, _, statistics, minute = a_past()
    queries.began(minute - 5 * HOUR, SagaStatus.COMPLETED, sagas=2, seconds=1)
    await statistics.buckets(HOUR, MINUTE, caller=None)
    queries.asked.clear()
    buckets = await statistics.buckets(timedelta(days=1), 15 * MINUTE, caller=None)
    assert sum(one.sagas for one in buckets) == 2
    assert all(before <= minute - 59 * MINUTE for _, before in queries.asked)


async def test_each_caller_has_figures_of_its_own() -> None:
    """What is cached for one is never shown to another."""
    queries, _, statistics, minute = a_past()
    queries.began(minute, SagaStatus.COMPLETED, seconds=1)
    assert sum(one.sagas for one in await statistics.buckets(HOUR, MINUTE, caller=None)) == 1
    queries.sagas.clear()
    assert sum(one.sagas for one in await statistics.buckets(HOUR, MINUTE, caller="shop")) == 0


async def test_a_quantile_is_rounded_up_to_the_next_edge() -> None:
    """Beyond the last edge it is infinite."""
    queries, _, statistics, minute = a_past()
    queries.began(minute, SagaStatus.COMPLETED, sagas=98, seconds=0.04)
    queries.began(minute, SagaStatus.COMPLETED, sagas=1, seconds=9)
    queries.began(minute, SagaStatus.COMPENSATED, sagas=1, seconds=1e6)
    one = (await statistics.buckets(HOUR, MINUTE, caller=None))[-1]
    assert (one.quantile(0.5), one.quantile(0.99), one.quantile(1)) == (0.05, 10.0, float("inf"))
