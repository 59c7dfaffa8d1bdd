"""Takes over the sagas that nobody runs: the same loop that started them continues them.

every poll, or when woken   claim what is due and has no living owner ──▶ runner.resume
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from app.saga.engine.lease import Lease
from app.saga.engine.runner import SagaRunner
from app.saga.model.definition import Definitions
from app.saga.model.errors import LogError, LogUnavailable
from app.saga.ports.changes import Change, ChangeKind, ChangeSource, NoChanges
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import SagaLog, StoredSaga
from app.saga.ports.takeover import takeovers

_logger = logging.getLogger(__name__)

MAX_CLAIM = 100
LONGEST_PAUSE_SECONDS = 3600.0


class Recovery(Lifecycle):
    """Claims sagas for this process, which runs at most `max_in_flight` of those at once.

    Stop it before the runner is drained. Once it quiesces nothing more is taken over; a claim under way is completed.
    """

    def __init__(
        self,
        log: SagaLog,
        runner: SagaRunner,
        definitions: Definitions,
        lease: Lease,
        *,
        clock: SystemClock,
        poll_seconds: float,
        max_in_flight: int,
        changes: ChangeSource | None = None,
    ) -> None:
        super().__init__()
        self._log = log
        self._runner = runner
        self._definitions = definitions
        self._lease = lease
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._max_in_flight = max_in_flight
        self._changes = changes or NoChanges()
        self._claims: BackgroundLoop | None = None
        self.on_takeover: Callable[[StoredSaga], None] = lambda _stored: None

    def wake(self) -> None:
        """Claim at once: something has just become due."""
        if self._claims is not None:
            self._claims.wake()

    async def claim(self) -> int:
        """Take over once what is due, as far as there is room; return how many sagas.

        Nothing is taken over next to a suspect: should it take this process down, only itself is to blame.
        """
        room = min(MAX_CLAIM, self._max_in_flight - self._runner.resumed_in_flight)
        if room < 1 or self.quiescing or not self._lease.held or self._runner.has_suspects:
            return 0
        owner = self._lease.owner
        try:
            claimed = await self._log.claim(owner=owner, definitions=self._definitions.keys(), limit=room)
        except LogUnavailable as error:
            if error.stored is None and owner == self._lease.owner:
                self._lease.lost()  # they may be ours without our knowing: only a new owner sets that right
            raise
        if owner != self._lease.owner:
            return 0  # the lease was lost meanwhile: these belong to a dead owner, and are claimed anew
        if claimed and not self._lease.held:
            self._lease.lost()  # a renewal under way must not revive it: it would own what it doesn't run
            return 0
        for stored in claimed:
            await self._resume(stored, owner)
        if claimed:
            _logger.info("sagas_claimed", extra={"count": len(claimed)})
        return len(claimed)

    async def _resume(self, stored: StoredSaga, owner: str) -> None:
        """Resume a saga. One whose log can't be read holds up no other; it is claimed again, ever more rarely."""
        try:
            self._runner.resume(stored, owner=owner)
            self.on_takeover(stored)
        except Exception:
            _logger.exception("saga_resume_failed", extra={"saga": stored.saga.id})
            pause = min(self._lease.seconds * 2.0 ** takeovers(stored.events), LONGEST_PAUSE_SECONDS)
            until = self._clock.now() + timedelta(seconds=pause)
            try:
                await self._log.abandon(stored.saga.id, epoch=stored.epoch, until=until)
            except LogError:
                self._lease.lost()  # or a living owner would own what nobody runs

    async def _on_start(self) -> None:
        self._claims = self._run_loop(
            BackgroundLoop(
                self._turn,
                OutageReporter(_logger, "saga_claim"),
                retry_seconds=self._poll_seconds,
                conclusive=lambda: self._lease.held,  # else nothing was asked
            )
        )
        self._at_stop(self._changes.subscribe(self._changed))

    def _changed(self, change: Change) -> None:
        if change.kind is ChangeKind.CLAIMABLE and change.elsewhere:
            self.wake()

    async def _turn(self) -> float:
        return 0.0 if await self.claim() >= MAX_CLAIM else self._poll_seconds
