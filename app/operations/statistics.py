"""The last hour and day, minute by minute, for the page's plots: counted once, whoever looks.

A minute whose sagas are all finished never changes again, so it is asked for once; what is asked anew
each time are the last ones, and those with a saga that isn't finished.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.saga.model.state import FINAL, SagaStatus
from app.saga.ports.queries import DURATION_EDGES, SagaHistory

MINUTE = timedelta(minutes=1)
CHUNK = timedelta(hours=1)
YOUNG = timedelta(minutes=3)
"""For this long a saga may still appear that began earlier."""

ASKED_AGAIN = 10
"""How many old minutes with unfinished sagas are counted anew at once."""

REMEMBERED_CALLERS = 32


@dataclass(slots=True)
class TimeBucket:
    """The sagas that began in a stretch of time: how many stand how, and how long the finished ones took."""

    begin: datetime
    by_status: Counter[SagaStatus] = field(default_factory=Counter)
    by_slot: Counter[int] = field(default_factory=Counter)

    @property
    def sagas(self) -> int:
        """How many began."""
        return self.by_status.total()

    @property
    def settled(self) -> bool:
        """Whether nothing in it can change any more."""
        return all(status in FINAL for status, sagas in self.by_status.items() if sagas)

    def add(self, other: TimeBucket) -> None:
        """Count another's as well."""
        self.by_status.update(other.by_status)
        self.by_slot.update(other.by_slot)

    def took(self, share: float) -> float | None:
        """Return within how many seconds this share of the finished ones was finished, None without any.

        It is one of `DURATION_EDGES`, rounded up; infinite beyond the last.
        """
        wanted, seen = self.by_slot.total() * share, 0
        for slot, sagas in sorted(self.by_slot.items()):
            seen += sagas
            if seen >= wanted > 0:
                return DURATION_EDGES[slot] if slot < len(DURATION_EDGES) else float("inf")
        return None


class _Minutes:
    """What is known of one caller's minutes."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.known: dict[datetime, TimeBucket] = {}
        self.asked_at: datetime | None = None
        self.since: datetime | None = None


class Statistics:
    """Slices of the recent past. What is `fresh_seconds` old is still new."""

    def __init__(
        self, queries: SagaHistory, *, now: Callable[[], datetime], fresh_seconds: float = 2.0
    ) -> None:
        self._queries = queries
        self._now = now
        self._fresh = timedelta(seconds=fresh_seconds)
        self._callers: OrderedDict[str | None, _Minutes] = OrderedDict()

    async def slices(self, span: timedelta, step: timedelta, *, caller: str | None) -> list[TimeBucket]:
        """Return the slices of the last `span`, each `step` long (both whole minutes), the newest last. Raise `LogUnavailable`."""
        minutes = self._callers.setdefault(caller, _Minutes())
        self._callers.move_to_end(caller)
        if len(self._callers) > REMEMBERED_CALLERS:
            self._callers.popitem(last=False)
        now = self._now()
        async with minutes.lock:
            await self._ask(minutes, span, caller, now)
        end = _floor(now, step) + step
        found = {end - n * step: TimeBucket(end - n * step) for n in range(1, int(span / step) + 1)}
        for minute, one in minutes.known.items():
            if (begin := _floor(minute, step)) in found:
                found[begin].add(one)
        return [found[begin] for begin in sorted(found)]

    async def unfinished(self, *, caller: str | None) -> dict[SagaStatus, int]:
        """Count those that aren't finished, by status. Raise `LogUnavailable`."""
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
            for minute in self._unsettled(minutes, young):
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
    def _unsettled(minutes: _Minutes, before: datetime) -> Iterable[datetime]:
        old = sorted(minute for minute, one in minutes.known.items() if minute < before and not one.settled)
        return old[-ASKED_AGAIN:]

    async def _count(self, minutes: _Minutes, after: datetime, before: datetime, caller: str | None) -> None:
        tallies = await self._queries.tallies(after=after, before=before, caller=caller)
        for minute in [one for one in minutes.known if after <= one < before]:
            del minutes.known[minute]
        for tally in tallies:
            one = minutes.known.setdefault(tally.minute, TimeBucket(tally.minute))
            one.by_status[tally.status] += tally.sagas
            if tally.slot is not None:
                one.by_slot[tally.slot] += tally.sagas


def _floor(at: datetime, step: timedelta) -> datetime:
    return at - timedelta(seconds=at.timestamp() % step.total_seconds())
