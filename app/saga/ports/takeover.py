"""Takeovers: what one writes, and which of the due sagas one claim takes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime

from app.saga.model.events import EventType, SagaEvent
from app.saga.ports.log import StoredSaga


def recovered(seq: int, last_at: datetime, now: datetime) -> SagaEvent:
    """Return the event that a takeover writes, as number `seq`, after an event at `last_at`."""
    return SagaEvent(seq=seq, at=max(now, last_at), type=EventType.SAGA_RECOVERED)


def takeovers(events: Sequence[SagaEvent]) -> int:
    """Return how often the saga was taken over since its last progress."""
    last = itertools.takewhile(lambda event: event.type is EventType.SAGA_RECOVERED, reversed(events))
    return sum(1 for _ in last)


SUSPECT_AFTER = 2
ALONE_AFTER = 3
SUSPECTS_TOGETHER = 10


def taken_together(due: Sequence[StoredSaga]) -> list[StoredSaga]:
    """Return which of the due sagas one claim takes, in their order.

    A saga that made no progress in several takeovers may be what kills its processes. Such suspects are claimed
    last, first ten at a time and then alone, so that a poisonous one doesn't use up its neighbours' takeovers.
    """
    suspicion = {one.saga.id: takeovers(one.events) for one in due}
    trusted = [one for one in due if suspicion[one.saga.id] < SUSPECT_AFTER]
    if trusted:
        return trusted
    suspects = [one for one in due if suspicion[one.saga.id] < ALONE_AFTER]
    return suspects[:SUSPECTS_TOGETHER] or list(due[:1])


LOST = "lost"
"""The owner of an abandoned saga: no process has this name, so it is never alive."""
