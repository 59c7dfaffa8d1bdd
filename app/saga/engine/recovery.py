"""Keeps this process's lease, and takes over the sagas that nobody runs: the same loop goes on with them.

every lease/3   renew the lease on the database's clock ── refused or too late ──▶ a lapse is a death:
                                                            drop everything, come back as a new owner
every poll      claim what is due and has no living owner ──▶ runner.resume
                hear which of the sagas that run here a person wants stopped ──▶ runner.cancel
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import timedelta

from app.saga.engine.lease import Lease
from app.saga.engine.outage_reporter import OutageReporter
from app.saga.engine.runner import SagaRunner
from app.saga.engine.tasks import end_tasks
from app.saga.model.definition import Definitions
from app.saga.model.errors import LeaseLost, LogError, LogUnavailable
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import SagaLog, StoredSaga, takeovers

_logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
CLAIM_AT_ONCE = 100
LONGEST_PAUSE_SECONDS = 3600.0
AGAIN_SECONDS = 0.5
"""After a renewal that failed."""

REBIRTH_SECONDS = 0.05
"""After a renewal that was refused, before this process comes back as a new owner."""


class Recovery:
    """The three loops beside the requests. `max_in_flight` bounds what this process recovers at once."""

    def __init__(
        self,
        log: SagaLog,
        runner: SagaRunner,
        definitions: Definitions,
        lease: Lease,
        *,
        clock: SystemClock,
        new_owner: Callable[[], str],
        poll_seconds: float,
        max_in_flight: int,
    ) -> None:
        self._log = log
        self._runner = runner
        self._definitions = definitions
        self._lease = lease
        self._clock = clock
        self._new_owner = new_owner
        self._poll_seconds = poll_seconds
        self._max_in_flight = max_in_flight
        self._tasks: list[asyncio.Task[None]] = []
        self.on_takeover: Callable[[StoredSaga], None] = lambda _stored: None
        self._leaving = False
        self._woken = asyncio.Event()

    async def begin(self) -> None:
        """Take the lease and begin the loops. Raise `LogUnavailable` where the database is away."""
        for tries_left in reversed(range(RENEWALS_PER_LEASE)):
            try:
                await self.renew()
            except LogUnavailable:
                if not tries_left:
                    raise
            else:
                break
        self._tasks = [
            asyncio.create_task(self._keep_lease()),
            asyncio.create_task(self._keep_listening()),
            asyncio.create_task(self._keep_claiming()),
        ]

    def leave(self) -> None:
        """Take over nothing more; a claim that is under way is still gone on with."""
        self._leaving = True

    async def stop_claiming(self) -> None:
        """Take over nothing more, and return once no claim is under way."""
        self.leave()
        await end_tasks(self._tasks[2:])

    def wake(self) -> None:
        """Look at once for what is due: something just became so."""
        self._woken.set()

    async def end(self) -> None:
        """Stop all loops and end the lease, so that others take over at once what is left."""
        await end_tasks(self._tasks)
        self._lease.lost()
        with contextlib.suppress(LogError, TimeoutError):
            async with asyncio.timeout(self._lease.seconds / RENEWALS_PER_LEASE):
                await self._log.release(self._lease.owner)

    async def renew(self) -> None:
        """Renew the lease once; where it has lapsed, drop everything and come back as a new owner.

        Raise `LogUnavailable` where that takes longer than a third of the lease.
        """
        if self._lease.lapsed:
            await self._be_reborn()
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._lease.seconds / RENEWALS_PER_LEASE):
                now = await self._log.renew(self._lease.owner, seconds=self._lease.seconds)
        except LeaseLost:
            self._lease.lost()
            return  # and come back at the next renewal
        except TimeoutError:
            raise LogUnavailable("The lease was not renewed in time.", stored=None) from None
        self._clock.set_right(now)
        self._lease.renewed(asked_at, expires_at=now + timedelta(seconds=self._lease.seconds))

    async def claim(self) -> int:
        """Take over once what is due, as far as there is room; return how many sagas.

        Beside a suspect nothing is taken over: should it take this process down, only itself is to blame.
        """
        room = min(CLAIM_AT_ONCE, self._max_in_flight - self._runner.resumed_in_flight)
        if room < 1 or self._leaving or not self._lease.held or self._runner.has_suspects:
            return 0
        owner = self._lease.owner
        try:
            claimed = await self._log.claim(owner=owner, definitions=self._definitions.keys(), limit=room)
        except LogUnavailable as error:
            if error.stored is None and owner == self._lease.owner:
                self._lease.lost()  # they may be ours without our knowing: only a new owner sets that right
            raise
        if owner != self._lease.owner:
            return 0  # the lease was lost meanwhile: these belong to who is dead, and are claimed anew
        if claimed and not self._lease.held:
            self._lease.lost()  # a renewal under way must not revive it: it would own what it doesn't run
            return 0
        for stored in claimed:
            await self._resume(stored, owner)
        if claimed:
            _logger.info("took over %d sagas", len(claimed))
        return len(claimed)

    async def listen(self) -> None:
        """Hear once which of the sagas that run here a person wants stopped."""
        if not self._lease.held or not self._runner.has_cancellable:
            return
        for saga_id, wish in (await self._log.wishes(self._lease.owner)).items():
            self._runner.cancel(saga_id, wish)

    async def _resume(self, stored: StoredSaga, owner: str) -> None:
        """One saga whose log can't be understood mustn't hold back the others; it comes again, ever more rarely."""
        try:
            self._runner.resume(stored, owner=owner)
            self.on_takeover(stored)
        except Exception:
            _logger.exception("saga %s can't be gone on with", stored.saga.id)
            pause = min(self._lease.seconds * 2.0 ** takeovers(stored.events), LONGEST_PAUSE_SECONDS)
            until = self._clock.now() + timedelta(seconds=pause)
            try:
                await self._log.abandon(stored.saga.id, epoch=stored.epoch, until=until)
            except LogError:
                self._lease.lost()  # or a living owner would own what nobody runs

    async def _be_reborn(self) -> None:
        _logger.warning("the lease has lapsed: dropping what was under way, to take it over anew")
        self._lease.lost()
        await self._runner.drop()
        # What it owned is free at once; if not now, when the lease ends.
        with contextlib.suppress(LogError, TimeoutError):
            async with asyncio.timeout(self._lease.seconds / RENEWALS_PER_LEASE):
                await self._log.release(self._lease.owner)
        self._lease.reborn(self._new_owner())

    async def _keep_lease(self) -> None:
        pause = self._lease.seconds / RENEWALS_PER_LEASE
        outage = OutageReporter(_logger, "lease_renewal")
        while True:
            try:
                await self.renew()
            except Exception as error:  # noqa: BLE001 (a loop that ended would end the process's part in everything)
                outage.failed(error, expected=isinstance(error, LogUnavailable))
                await asyncio.sleep(min(pause, AGAIN_SECONDS))
                continue
            outage.recovered()
            await asyncio.sleep(REBIRTH_SECONDS if self._lease.lapsed else pause)

    async def _keep_claiming(self) -> None:
        outage = OutageReporter(_logger, "saga_claim")
        while True:
            try:
                claimed = await self.claim()
            except Exception as error:  # noqa: BLE001 (as above)
                outage.failed(error, expected=isinstance(error, LogUnavailable))
                claimed = 0
            else:
                if self._lease.held:  # else nothing was asked
                    outage.recovered()
            if claimed < CLAIM_AT_ONCE:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await self._woken.wait()
            self._woken.clear()

    async def _keep_listening(self) -> None:
        outage = OutageReporter(_logger, "cancellation_poll")
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self.listen()
            except Exception as error:  # noqa: BLE001 (as above)
                outage.failed(error, expected=isinstance(error, LogUnavailable))
            else:
                if self._lease.held:  # else nothing was asked
                    outage.recovered()
