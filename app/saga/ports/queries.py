"""Reading many sagas: the port that a list or a search asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.saga.model.events import TrailEntry
from app.saga.model.status import SagaStatus
from app.saga.ports.log import ReadSaga


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaFilter:
    """Which sagas to list; None leaves a member out, a `caller` too. Times are aware: created_after <= begun < created_before.

    `failing_step` leaves those in which that step, or its compensation, was given up.
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

    `unfinished` counts them by status, each that isn't final. `overdue_seconds` is for how long the
    oldest has been due that no living replica has; `without_wakeup` counts those never due, `put_off` those
    that a replica tried to go on with and couldn't understand: they are tried again, ever more rarely.
    """

    unfinished: Mapping[str, int]
    overdue_seconds: float
    without_wakeup: int
    put_off: int = 0


class SagaQueries(Protocol):
    """Reading many sagas; the log itself reads one."""

    async def list_sagas(self, wanted: SagaFilter, *, before: str | None, limit: int) -> Sequence[ReadSaga]:
        """Return at most `limit` sagas, newest first, with an id below `before`. Raise `LogUnavailable`.

        One whose log can't be understood is an `UnreadableSaga` in its place.
        """


class SagaNews(Protocol):
    """What has become durable of many sagas, in one question."""

    async def since(self, seqs: Mapping[str, int]) -> Mapping[str, Sequence[TrailEntry]]:
        """Return the events of each saga behind the seq given for it, in order, known or not. Raise `LogUnavailable`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketCount:
    """How many sagas began in one minute, stand so now, and took so long.

    `minute` is an aware time; `slot` is the index in `DURATION_EDGES` of the first edge in seconds that is
    not below what they took, one more for longer ones, and None for those that aren't finished.
    """

    minute: datetime
    status: SagaStatus
    slot: int | None
    sagas: int


DURATION_EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""In seconds: as exactly as the page tells how long sagas took."""


class SagaHistory(Protocol):
    """What became of the sagas of a time, and how those that aren't finished stand."""

    async def tallies(self, *, after: datetime, before: datetime, caller: str | None) -> list[BucketCount]:
        """Count the sagas that began from `after` on, before `before`; a `caller` None is everyone's. Raise `LogUnavailable`."""

    async def unfinished(self, *, caller: str | None) -> Mapping[SagaStatus, int]:
        """Count those running, compensating and in need of attention. Raise `LogUnavailable`."""

    async def newest(self) -> str | None:
        """Return the id of the saga that began last. Raise `LogUnavailable`."""
