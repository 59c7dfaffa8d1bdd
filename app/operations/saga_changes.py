"""Waiting for a change of one saga that another replica runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.saga.ports.changes import Change, ChangeKind, ChangeSource, poll_pause


class SagaChanges:
    """Passes reported changes on to those who wait for their sagas: one subscription, and only while somebody waits."""

    def __init__(self, source: ChangeSource) -> None:
        self._source = source
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._unsubscribe: Callable[[], None] | None = None

    def pause(self, seconds: float) -> float:
        """Return for how long to wait before reading a saga again all the same; `seconds` without reports."""
        return poll_pause(self._source, seconds)

    @contextmanager
    def of(self, saga_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever another process may have changed the saga. Clear it before reading."""
        if self._unsubscribe is None:
            self._unsubscribe = self._source.subscribe(self._pass_on)
        changed = asyncio.Event()
        self._waiting.setdefault(saga_id, set()).add(changed)
        try:
            yield changed
        finally:
            self._waiting[saga_id].discard(changed)
            if not self._waiting[saga_id]:
                del self._waiting[saga_id]
            if not self._waiting and self._unsubscribe is not None:
                self._unsubscribe()
                self._unsubscribe = None

    def _pass_on(self, change: Change) -> None:
        if change.kind is not ChangeKind.EVENTS or not change.elsewhere:
            return
        for saga_id in self._waiting.keys() if change.saga_ids is None else change.saga_ids:
            for changed in self._waiting.get(saga_id, ()):
                changed.set()
