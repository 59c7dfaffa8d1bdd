"""The service with a reservation that takes its process down: `uvicorn tests.chaos.apps.poisoned_app:app`.

An order whose customer is `poison` kills the process that reserves its goods, as a bug in a step's native code would.
"""

from __future__ import annotations

import os
import signal
from unittest.mock import patch

from app.saga import Context
from app.saga.model.step import JSON
from app.services import InventoryStep

POISON = "poison"


class DeadlyInventoryStep(InventoryStep):
    """Reserves the order's items, unless its customer is poison."""

    async def execute(self, context: Context) -> dict[str, JSON]:
        if context["customer_id"] == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().execute(context)


patch("app.bootstrap.saga_definitions.InventoryStep", DeadlyInventoryStep).start()

from app.main import app  # noqa: E402 (only now: it is wired with what stands in bootstrap)

__all__ = ["app"]
