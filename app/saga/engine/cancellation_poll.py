"""Asks which of the sagas that run here an operator wants cancelled, as the request may have come to another replica."""

from __future__ import annotations

import logging

from app.saga.engine.background_loop import BackgroundLoop
from app.saga.engine.lease import Lease
from app.saga.engine.lifecycle import Lifecycle
from app.saga.engine.outage_reporter import OutageReporter
from app.saga.engine.runner import SagaRunner
from app.saga.ports.log import SagaLog

_logger = logging.getLogger(__name__)


class CancellationPoll(Lifecycle):
    """One query every `poll_seconds`, while something runs here that can be cancelled."""

    def __init__(self, log: SagaLog, runner: SagaRunner, lease: Lease, *, poll_seconds: float) -> None:
        super().__init__()
        self._log = log
        self._runner = runner
        self._lease = lease
        self._poll_seconds = poll_seconds

    async def poll(self) -> None:
        """Ask once, and cancel those sagas."""
        if not self._lease.held or not self._runner.has_cancellable:
            return
        for saga_id, wish in (await self._log.wishes(self._lease.owner)).items():
            self._runner.cancel(saga_id, wish)

    async def _on_start(self) -> None:
        self._run_loop(
            BackgroundLoop(
                self._turn,
                OutageReporter(_logger, "cancellation_poll"),
                first_pause=self._poll_seconds,
                retry_seconds=self._poll_seconds,
                conclusive=lambda: self._lease.held,  # else nothing was asked
            )
        )

    async def _turn(self) -> float:
        await self.poll()
        return self._poll_seconds
