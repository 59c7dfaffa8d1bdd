"""Changes that this process makes, reported to subscribers in it; the base of what also hears of others' changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.background.lifecycle import Lifecycle
from app.saga.ports.changes import Change, ChangeKind, Subscriber

_logger = logging.getLogger(__name__)

COALESCE_SECONDS = 0.05
"""Stored events are reported at most once in this time, those of all sagas together."""


class LocalChanges(Lifecycle):
    """A `ChangeSource` of what this process stores. SQLite's: another process's changes are found by polling."""

    def __init__(self) -> None:
        super().__init__()
        self._subscribers: list[Subscriber] = []
        self._stored: set[str] = set()
        self._reported_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    @property
    def live(self) -> bool:
        return False

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def events_stored(self, saga_ids: Iterable[str]) -> None:
        """Report, soon, that events of these sagas were stored. On the hot path: it only takes a note."""
        if not self._heard:
            return
        self._stored.update(saga_ids)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._reported_at + COALESCE_SECONDS, self._report_stored)

    async def announce(self, connection: AsyncConnection, kind: ChangeKind) -> None:
        """Notify other processes of a change when this transaction is committed, where the database can."""

    def report(self, change: Change) -> None:
        """Call every subscriber in this process."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(change)
            except Exception:
                _logger.exception("change_subscriber_failed", extra={"kind": change.kind.value})

    async def _on_stop(self) -> None:
        self._report_what_waits()

    def _report_what_waits(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._report_stored()

    @property
    def _heard(self) -> bool:
        """Whether anybody hears of a change."""
        return bool(self._subscribers)

    def _report_stored(self) -> None:
        self._timer, self._reported_at = None, asyncio.get_running_loop().time()
        saga_ids, self._stored = frozenset(self._stored), set()
        change = Change(kind=ChangeKind.EVENTS, saga_ids=saga_ids)
        self.report(change)
        self._send(change)

    def _send(self, change: Change) -> None:
        """Notify other processes."""
