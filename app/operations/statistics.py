"""Figures of the last hour and day, by the minute, for the page's charts: counted once for all pages.

A minute whose sagas have all finished never changes again, so it is queried once; only the latest minutes, and those
with unfinished sagas, are queried again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.saga.model.status import FINAL, SagaStatus
from app.saga.ports.queries import DURATION_EDGES, SagaHistory

MINUTE = timedelta(minutes=1)
CHUNK = timedelta(hours=1)
YOUNG = timedelta(minutes=3)
"""For this long a saga may still be stored that started earlier."""

MAX_RECOUNTED = 10
"""How many old minutes with unfinished sagas are counted again at once."""

MAX_CALLERS = 32


@dataclass(slots=True)
class TimeBucket:
    """The sagas that started in a span of time: how many have which status, and how long the finished ones took."""

    start: datetime
    by_status: Counter[SagaStatus] = field(default_factory=Counter)
    by_duration: Counter[int] = field(default_factory=Counter)

    @property
    def sagas(self) -> int:
        """How many started."""
        return self.by_status.total()

    @property
    def complete(self) -> bool:
        """Whether it can't change any more."""
        return all(status in FINAL for status, sagas in self.by_status.items() if sagas)

    def add(self, other: TimeBucket) -> None:
        """Add the counts of another."""
        self.by_status.update(other.by_status)
        self.by_duration.update(other.by_duration)

    def quantile(self, share: float) -> float | None:
        """Return the seconds within which this share of the finished ones finished; None where none has.

        It is rounded up to one of `DURATION_EDGES`; infinite beyond the last.
        """
        wanted, seen = self.by_duration.total() * share, 0
        for bucket, sagas in sorted(self.by_duration.items()):
            seen += sagas
            if seen >= wanted > 0:
                return DURATION_EDGES[bucket] if bucket < len(DURATION_EDGES) else float("inf")
        return None


class _Minutes:
    """The minutes of one caller, as far as they were counted."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.known: dict[datetime, TimeBucket] = {}
        self.asked_at: datetime | None = None
        self.since: datetime | None = None


class Statistics:
    """Figures of the recent past. They are queried again after `fresh_seconds`."""

    def __init__(
        self, queries: SagaHistory, *, now: Callable[[], datetime], fresh_seconds: float = 2.0
    ) -> None:
        self._queries = queries
        self._now = now
        self._fresh = timedelta(seconds=fresh_seconds)
        self._callers: OrderedDict[str | None, _Minutes] = OrderedDict()

    async def buckets(self, span: timedelta, step: timedelta, *, caller: str | None) -> list[TimeBucket]:
        """Return the buckets of the last `span`, each `step` long (both whole minutes), the newest last. Raise `LogUnavailable`."""
        minutes = self._callers.setdefault(caller, _Minutes())
        self._callers.move_to_end(caller)
        if len(self._callers) > MAX_CALLERS:
            self._callers.popitem(last=False)
        now = self._now()
        async with minutes.lock:
            await self._ask(minutes, span, caller, now)
        end = _floor(now, step) + step
        found = {end - n * step: TimeBucket(end - n * step) for n in range(1, int(span / step) + 1)}
        for minute, one in minutes.known.items():
            if (start := _floor(minute, step)) in found:
                found[start].add(one)
        return [found[start] for start in sorted(found)]

    async def unfinished(self, *, caller: str | None) -> dict[SagaStatus, int]:
        """Count the unfinished sagas by status. Raise `LogUnavailable`."""
        return dict(await self._queries.unfinished(caller=caller))

    async def _ask(self, minutes: _Minutes, span: timedelta, caller: str | None, now: datetime) -> None:
        end, begin = _floor(now, MINUTE) + MINUTE, _floor(now - span, MINUTE)
        fresh = minutes.asked_at is not None and now - minutes.asked_at < self._fresh
        if not fresh:
            young = end - YOUNG - MINUTE
            if minutes.asked_at is not None:
                young = min(young, _floor(minutes.asked_at - YOUNG, MINUTE))
            if minutes.since is None or young < minutes.since:
                minutes.since = max(young, begin)
            await self._count(minutes, max(young, begin), end, caller)
            for minute in self._incomplete(minutes, young):
                await self._count(minutes, minute, minute + MINUTE, caller)
            minutes.asked_at = now
        while (
            minutes.since is not None and minutes.since > begin
        ):  # backwards, so that what is new is there first
            since = max(begin, minutes.since - CHUNK)
            await self._count(minutes, since, minutes.since, caller)
            minutes.since = since
        for minute in [one for one in minutes.known if one < end - timedelta(days=1, hours=1)]:
            del minutes.known[minute]

    @staticmethod
    def _incomplete(minutes: _Minutes, before: datetime) -> Iterable[datetime]:
        old = sorted(minute for minute, one in minutes.known.items() if minute < before and not one.complete)
        return old[-MAX_RECOUNTED:]

    async def _count(self, minutes: _Minutes, after: datetime, before: datetime, caller: str | None) -> None:
        counts = await self._queries.counts_by_minute(after=after, before=before, caller=caller)
        for minute in [one for one in minutes.known if after <= one < before]:
            del minutes.known[minute]
        for count in counts:
            one = minutes.known.setdefault(count.minute, TimeBucket(count.minute))
            one.by_status[count.status] += count.sagas
            if count.duration_bucket is not None:
                one.by_duration[count.duration_bucket] += count.sagas


def _floor(at: datetime, step: timedelta) -> datetime:
    return at - timedelta(seconds=at.timestamp() % step.total_seconds())
