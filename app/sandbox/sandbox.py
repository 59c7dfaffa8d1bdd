"""The sandbox: three services that work, and fail on demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.gateway.answer import Answer
from app.saga.background.tasks import end_tasks
from app.sandbox.faults import Fault, RandomFaults, parse
from app.sandbox.ledger import Ledger
from app.sandbox.request import Request

_logger = logging.getLogger(__name__)


class Sandbox:
    """Carries requests out on a ledger, with latency and trouble.

    `failure_rate` of the calls go wrong at random, the same ones for the same `seed` and order of
    calls. A late effect comes after `late_seconds`. `sleep` is how time passes.
    """

    def __init__(
        self,
        ledger: Ledger | None = None,
        *,
        failure_rate: float = 0.0,
        seed: int | None = None,
        latency_seconds: float = 0.0,
        late_seconds: float = 2.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Without a ledger the sandbox forgets everything with its process."""
        self.ledger = ledger or Ledger()
        self._random = RandomFaults(failure_rate, seed) if failure_rate else None
        self._latency_seconds = latency_seconds
        self._late_seconds = late_seconds
        self._sleep = sleep
        self._late: set[asyncio.Task[None]] = set()

    async def handle(self, request: Request, *, simulate: str | None = None) -> Answer | None:
        """Return the service's answer, None where it keeps silent.

        `simulate` is the header X-Simulate; raise `SimulationError` where it can't be read. Reading
        (`get`) never fails.
        """
        ordered = drawn = None
        if (simulate or self._random) and (action := request.verb.action) is not None:
            ordered = parse(simulate).get((request.service, action)) if simulate else None
            drawn = self._random.draw(action) if self._random else None
        if self._latency_seconds:
            await self._sleep(self._latency_seconds)
        outcome = await self.ledger.handle(request, ordered=ordered, drawn=drawn)
        if outcome.fault is Fault.LATE_EFFECT:
            task = asyncio.create_task(self._apply_late(request))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        return outcome.answer

    async def settled(self) -> None:
        """Return once no late effect is on its way any more."""
        while self._late:
            await asyncio.wait(self._late)

    async def aclose(self) -> None:
        """Drop late requests, as a process that ends would, and close the ledger."""
        await end_tasks(self._late)
        await self.ledger.aclose()

    async def _apply_late(self, request: Request) -> None:
        await self._sleep(self._late_seconds)
        try:
            await self.ledger.apply_late(request)
        except Exception:
            _logger.exception("late_effect_failed")
