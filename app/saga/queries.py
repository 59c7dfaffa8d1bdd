"""Reading many sagas: the port that a list or a search asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.saga.events import SagaEvent
from app.saga.log import StoredSaga
from app.saga.state import SagaStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaFilter:
    """Which sagas to list; None leaves a member out, a `caller` too. Times are aware; bounds are exclusive."""

    caller: str | None = None
    status: SagaStatus | None = None
    order_id: str | None = None
    customer_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """The sagas that aren't finished.

    `unfinished` counts them by status, each that isn't final. `overdue_seconds` is for how long the
    oldest has been due that no living replica has; `without_wakeup` counts those never due.
    """

    unfinished: Mapping[str, int]
    overdue_seconds: float
    without_wakeup: int


class SagaQueries(Protocol):
    """Reading many sagas; the log itself reads one."""

    async def list_sagas(self, wanted: SagaFilter, *, before: str | None, limit: int) -> list[StoredSaga]:
        """Return at most `limit` sagas, newest first, with an id below `before`. Raise `LogUnavailable`."""


class SagaNews(Protocol):
    """What has become durable of many sagas, in one question."""

    async def since(self, seqs: Mapping[str, int]) -> Mapping[str, list[SagaEvent]]:
        """Return the events of each saga behind the seq given for it, in order. Raise `LogUnavailable`."""
