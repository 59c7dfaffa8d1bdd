"""Reading many sagas: the ports for lists, searches, streams and statistics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from app.saga.model.events import TrailEntry
from app.saga.model.status import SagaStatus
from app.saga.ports.log import ReadSaga

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Kept(Protocol[T_co]):
    """What somebody has kept of sagas that they read before, so that those needn't be read again."""

    def __call__(self, saga_id: str, stamp: object, /) -> T_co | None:
        """Return what was kept of a saga with an equal stamp; None where there is no such thing."""


def nothing_kept(_saga_id: str, _stamp: object) -> None:
    """Keep nothing: every saga is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaFilter:
    """Which sagas to list; None doesn't restrict. Times are aware: created_after <= created_at < created_before.

    `failing_step` selects sagas in which that step, or its compensation, was abandoned.
    """

    caller: str | None = None
    status: SagaStatus | None = None
    order_id: str | None = None
    customer_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    failing_step: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BacklogStats:
    """The sagas that aren't finished.

    `unfinished` counts them by status. `oldest_due_age_seconds` is for how long the oldest due saga without a live
    owner has been due. `unscheduled` counts those that never become due, `deferred` those that a replica tried to
    resume and couldn't read: that is retried, at growing intervals.
    """

    unfinished: Mapping[str, int]
    oldest_due_age_seconds: float
    unscheduled: int
    deferred: int = 0


class SagaQueries(Protocol):
    """Reading sagas to show them. Every method may raise `LogUnavailable`.

    One whose log can't be understood is an `UnreadableSaga` in its place, and one that is `kept` what was kept of it.
    """

    async def find(self, saga_id: str, *, kept: Kept[T] = nothing_kept) -> ReadSaga | T | None:
        """Return a saga as it is durable now; None where there is none."""

    async def list_sagas(
        self, wanted: SagaFilter, *, before: str | None, limit: int, kept: Kept[T] = nothing_kept
    ) -> Sequence[ReadSaga | T]:
        """Return at most `limit` sagas, newest first, with an id below `before`."""

    async def inactive(self, saga_ids: Collection[str]) -> Collection[str]:
        """Return which of these sagas no process works on: they have ended, or need an operator."""


class SagaNews(Protocol):
    """The new events of many sagas, in one query."""

    async def since(self, seqs: Mapping[str, int]) -> Mapping[str, Sequence[TrailEntry]]:
        """Return the events of each saga after the seq given for it, in order, of known types or not. Raise `LogUnavailable`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketCount:
    """How many sagas started in one minute, have this status now, and have this duration.

    `minute` is an aware time. `duration_bucket` is the index in `DURATION_EDGES` of the first edge that is not
    below the duration, one more for longer ones, and None for sagas that aren't finished.
    """

    minute: datetime
    status: SagaStatus
    duration_bucket: int | None
    sagas: int


DURATION_EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""In seconds: the precision of the durations on the dashboard."""


class SagaHistory(Protocol):
    """Counts of the sagas that started in a span of time, and of those that aren't finished."""

    async def counts_by_minute(
        self, *, after: datetime, before: datetime, caller: str | None
    ) -> list[BucketCount]:
        """Count the sagas that started from `after` on, before `before`; `caller` None means all. Raise `LogUnavailable`."""

    async def unfinished(self, *, caller: str | None) -> Mapping[SagaStatus, int]:
        """Count the sagas that are running, compensating or need attention. Raise `LogUnavailable`."""

    async def newest(self) -> str | None:
        """Return the id of the saga that started last, None if there is none. Raise `LogUnavailable`."""
