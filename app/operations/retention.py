"""Retention of finished sagas: customers' data is removed after some time, and whole sagas later, where wanted.

every minute   redact sagas that finished longer ago than `keep_data`, in batches, with a pause after each
               delete sagas that finished longer ago than `keep_sagas` likewise
               unfinished sagas are kept as they are, however old

Every replica does this, but only one batch is in progress at a time among all of them. A batch is one transaction, so
the next one continues where it ended.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from app.saga.ports.clock import Clock
from app.storage.retention.redaction import REMOVED
from app.storage.retention.retention import FIRST, SqlRetention, UnfinishedSaga

_logger = logging.getLogger(__name__)

POLL_SECONDS = 60.0
"""Between two runs."""

GRACE_SECONDS = 2.0
"""How long a batch in progress may take when the process stops, before it is rolled back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionCounts:
    """How many sagas are redacted (they lose their customers' data), and how many are deleted."""

    redacted: int
    deleted: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasureResult:
    """How many sagas of a customer were redacted, and which could not be because they aren't finished."""

    redacted: int
    unfinished: Sequence[UnfinishedSaga]


class Retention(Lifecycle):
    """The background loop. `keep_data` and `keep_sagas` None means for ever."""

    def __init__(
        self,
        store: SqlRetention,
        *,
        clock: Clock,
        keep_data: timedelta | None,
        keep_sagas: timedelta | None,
        batch: int,
        pause_seconds: float,
        endpoints: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._keep_data = keep_data
        self._keep_sagas = keep_sagas
        self._batch = batch
        self._pause_seconds = pause_seconds
        self._endpoints = endpoints
        self._pause: Callable[[float], Awaitable[None]] = clock.sleep
        self.on_redacted: Callable[[int], None] = lambda _sagas: None
        self.on_deleted: Callable[[int], None] = lambda _sagas: None

    async def run(self) -> RetentionCounts:
        """Redact and delete everything that is old enough now, in batches; return how many sagas."""
        return RetentionCounts(redacted=await self._redact(), deleted=await self._delete())

    async def preview(self) -> RetentionCounts:
        """Return what `run` would do; undelivered webhooks may keep some of the sagas to be deleted."""
        now = self._clock.now()
        redacted = deleted = 0
        if self._keep_data is not None:
            redacted = await self._store.to_redact(now - self._keep_data)
        if self._keep_sagas is not None:
            deleted = await self._store.to_delete(now - self._keep_sagas)
        return RetentionCounts(redacted=redacted, deleted=deleted)

    async def erase(self, customer_id: str, *, caller: str | None = None) -> ErasureResult:
        """Redact a customer's finished sagas now, whatever their age; those of one caller, or of all."""
        redacted = 0
        if customer_id != REMOVED:
            while done := await self._store.erase(customer_id, caller=caller, limit=self._batch):
                redacted += done
                self.on_redacted(done)
        unfinished = await self._store.unfinished(customer_id, caller=caller)
        return ErasureResult(redacted=redacted, unfinished=unfinished)

    async def _redact(self) -> int:
        redacted, more = 0, self._keep_data is not None
        while more and self._keep_data is not None and not self.quiescing:
            batch = await self._store.redact(self._clock.now() - self._keep_data, limit=self._batch)
            redacted, more = redacted + batch.done, batch.more
            self.on_redacted(batch.done)
            if more:
                await self._pause(self._pause_seconds)
        return redacted

    async def _delete(self) -> int:
        deleted, more, after = 0, self._keep_sagas is not None, FIRST
        while more and self._keep_sagas is not None and not self.quiescing:
            batch = await self._store.delete(
                self._clock.now() - self._keep_sagas,
                after=after,
                limit=self._batch,
                endpoints=self._endpoints,
            )
            deleted, more, after = deleted + batch.done, batch.more, batch.last
            self.on_deleted(batch.done)
            if more:
                await self._pause(self._pause_seconds)
        return deleted

    async def _on_start(self) -> None:
        if self._keep_data is None and self._keep_sagas is None:
            return
        loop = BackgroundLoop(
            self._turn,
            OutageReporter(_logger, "retention"),
            first_pause=POLL_SECONDS,
            retry_seconds=POLL_SECONDS,
            sleep=self._clock.sleep,
        )
        self._pause = self._run_loop(loop).pause

    def _default_grace(self) -> float:
        return GRACE_SECONDS

    async def _turn(self) -> float:
        counts = await self.run()
        if counts.redacted or counts.deleted:
            _logger.info("sagas_expired", extra={"redacted": counts.redacted, "deleted": counts.deleted})
        return POLL_SECONDS
