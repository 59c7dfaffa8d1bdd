"""The task that runs a saga."""

from __future__ import annotations

import asyncio

from app.saga.engine.saga_instance import SagaInstance
from app.saga.engine.waiting import wait_until_done
from app.saga.model.status import INACTIVE
from app.saga.ports.log import StartResult
from app.saga.ports.takeover import SUSPECT_AFTER


class SagaTask:
    """A saga that runs here. `started` resolves with the log's answer, `done` when this process has finished with it."""

    def __init__(self, instance: SagaInstance, *, resumed: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.instance = instance
        self.resumed = resumed
        self.started: asyncio.Future[StartResult] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    @property
    def suspect(self) -> bool:
        """Whether it was taken over repeatedly and has made no progress yet: it may be what kills its processes."""
        return self.resumed and not self.done.done() and self.instance.state.recoveries >= SUSPECT_AFTER

    @property
    def inactive(self) -> bool:
        """Whether the saga is finished or waits for an operator."""
        return self.instance.state.status in INACTIVE

    async def wait_done(self, seconds: float) -> None:
        """Wait until this process has finished with the saga, at most `seconds`. This never cancels it."""
        await wait_until_done(self.done, seconds)

    def fail_start(self, error: Exception) -> None:
        """Have `started` raise this. Perhaps nobody waits for it: the client may have disconnected."""
        self.started.set_exception(error)
        self.started.exception()  # mark it retrieved
