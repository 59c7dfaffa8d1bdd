"""Keeps this process's lease, on the database's clock.

every lease/3   renew ── refused, or too late ──▶ drop every saga, come back as a new owner
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from app.saga.engine.lease import Lease
from app.saga.model.errors import LeaseLost, LogError, LogUnavailable
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import SagaLog

_logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3

RETRY_SECONDS = 0.5
"""After a renewal that failed."""

NEW_IDENTITY_SECONDS = 0.05
"""After a renewal that was refused, until this process comes back as a new owner."""


class LeaseKeeper(Lifecycle):
    """Renews the lease. `drop` stops every saga that runs here. It is called before the process becomes a new owner.

    `start` takes the lease, and raises `LogUnavailable` while the database is down. `stop` releases it, so that
    others take over the remaining sagas at once: first stop everything else that runs sagas.
    """

    def __init__(
        self,
        log: SagaLog,
        lease: Lease,
        *,
        clock: SystemClock,
        new_owner: Callable[[], str],
        drop: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__()
        self._log = log
        self._lease = lease
        self._clock = clock
        self._new_owner = new_owner
        self._drop = drop

    @property
    def _third(self) -> float:
        return self._lease.seconds / RENEWALS_PER_LEASE

    async def renew(self) -> None:
        """Renew the lease once; if it has lapsed, drop everything and come back as a new owner.

        Raise `LogUnavailable` if that takes longer than a third of the lease.
        """
        if self._lease.lapsed:
            await self._assume_new_identity()
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._third):
                now = await self._log.renew(self._lease.owner, seconds=self._lease.seconds)
        except LeaseLost:
            self._lease.lost()
            return  # and come back at the next renewal
        except TimeoutError:
            raise LogUnavailable("The lease was not renewed in time.", stored=None) from None
        self._clock.set_right(now)
        self._lease.renewed(asked_at, expires_at=now + timedelta(seconds=self._lease.seconds))

    async def _on_start(self) -> None:
        for retries_left in reversed(range(RENEWALS_PER_LEASE)):
            try:
                await self.renew()
            except LogUnavailable:
                if not retries_left:
                    raise
            else:
                break
        self._run_loop(
            BackgroundLoop(
                self._turn,
                OutageReporter(_logger, "lease_renewal"),
                retry_seconds=min(self._third, RETRY_SECONDS),
            )
        )

    async def _on_stop(self) -> None:
        if self._lease.held or self._lease.lapsed:  # it was granted once
            self._lease.lost()
            await self._release()

    async def _turn(self) -> float:
        await self.renew()
        return NEW_IDENTITY_SECONDS if self._lease.lapsed else self._third

    async def _assume_new_identity(self) -> None:
        _logger.warning("lease_lost", extra={"owner": self._lease.owner})
        self._lease.lost()
        await self._drop()
        await self._release()
        self._lease.assume_new_identity(self._new_owner())

    async def _release(self) -> None:
        """Release this owner's sagas at once. If that fails, they are free when the lease ends."""
        with contextlib.suppress(LogError, TimeoutError):
            async with asyncio.timeout(self._third):
                await self._log.release(self._lease.owner)
