"""The sandbox's carrier, slow with some orders: `uvicorn tests.bench.slow_carrier:app`."""

from __future__ import annotations

import asyncio

from app.gateway.answer import Answer
from app.gateway.port import Participant
from app.sandbox.request import Request
from app.sandbox.sandbox import Sandbox
from app.sandbox.server import sandbox_app
from tests.bench.open_loop import SLOW

SLOW_SECONDS = 2.0


class SlowCarrier(Sandbox):
    """Takes its time where the order's id says so."""

    async def handle(self, request: Request, *, simulate: str | None = None) -> Answer | None:
        """Answer as the sandbox does, though late."""
        if str((request.body or {}).get("order_id", "")).startswith(SLOW):
            await asyncio.sleep(SLOW_SECONDS)
        return await super().handle(request, simulate=simulate)


app = sandbox_app(Participant.SHIPPING, SlowCarrier())
