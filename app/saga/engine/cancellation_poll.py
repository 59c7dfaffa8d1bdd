"""Polls for requests to cancel sagas that run here: another replica may have received the request.

If changes are reported, it asks as soon as there is a request, and polls less often, as a report may be lost.
"""

from __future__ import annotations

import logging

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from app.saga.engine.lease import Lease
from app.saga.engine.runner import SagaRunner
from app.saga.ports.changes import Change, ChangeKind, ChangeSource, NoChanges, poll_pause
from app.saga.ports.log import SagaLog

_logger = logging.getLogger(__name__)


class CancellationPoll(Lifecycle):
    """One query every `poll_seconds`, while a saga runs here that can be cancelled."""

    def __init__(
        self,
        log: SagaLog,
        runner: SagaRunner,
        lease: Lease,
        *,
        poll_seconds: float,
        changes: ChangeSource | None = None,
    ) -> None:
        super().__init__()
        self._log = log
        self._runner = runner
        self._lease = lease
        self._poll_seconds = poll_seconds
        self._changes = changes or NoChanges()
        self._loop: BackgroundLoop | None = None

    async def poll(self) -> None:
        """Ask once, and cancel those sagas."""
        if not self._lease.held or not self._runner.has_cancellable:
            return
        for saga_id, request in (await self._log.pending_cancellations(self._lease.owner)).items():
            self._runner.cancel(saga_id, request)

    def look_soon(self) -> None:
        """Ask at once: a request may have been reported before its saga ran here."""
        if self._loop is not None:
            self._loop.wake()

    async def _on_start(self) -> None:
        self._loop = self._run_loop(
            BackgroundLoop(
                self._turn,
                OutageReporter(_logger, "cancellation_poll"),
                first_pause=self._poll_seconds,
                retry_seconds=self._poll_seconds,
                conclusive=lambda: self._lease.held,  # else nothing was asked
            )
        )
        self._at_stop(self._changes.subscribe(self._changed))

    def _changed(self, change: Change) -> None:
        if change.kind is ChangeKind.CANCELLATIONS and change.elsewhere:
            self.look_soon()

    async def _turn(self) -> float:
        await self.poll()
        return poll_pause(self._changes, self._poll_seconds)
