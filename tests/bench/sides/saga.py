"""This service's sagas: three steps that do nothing, in process, over the log at the URL.

The process is set up as the service's own is: uvloop, and the collector as `app/main.py` has it.
"""

from __future__ import annotations

import gc

import uvloop
from uuid_utils import uuid7

from app.saga import Definitions, NewSaga, SagaDefinition, SagaOrchestrator, SagaStatus, StepRejected
from app.saga.clock import SystemClock
from app.saga.runner import SagaRunner
from app.saga.step import Context
from app.storage import open_storage
from tests.bench.sides.clock import asked, tell


class Nothing:
    """A step that does nothing, successfully, or refuses."""

    def __init__(self, name: str, *, refuses: bool = False) -> None:
        self.name = name
        self._refuses = refuses

    async def execute(self, _context: Context) -> dict[str, str]:
        if self._refuses:
            raise StepRejected("Nothing is delivered there.")
        return {"id": self.name}

    async def compensate(self, _context: Context) -> None: ...


async def main() -> None:
    """Measure whole sagas, durable at each boundary."""
    given = asked()
    refuses = given.outcome == "compensated"
    definition = (
        SagaDefinition("checkout")
        .do(Nothing("payment"))
        .do(Nothing("inventory"))
        .pivot(Nothing("shipping", refuses=refuses))
    )
    ends = SagaStatus.COMPENSATED if refuses else SagaStatus.COMPLETED
    async with open_storage(given.url) as storage:
        clock = SystemClock()
        orchestrator = SagaOrchestrator(definition, storage.log, clock=clock)
        runner = SagaRunner(Definitions([definition]), storage.log, orchestrator, clock=clock)

        commits = 0

        def committed(_size: int, _waited: float, _took: float) -> None:
            nonlocal commits
            commits += 1

        storage.journal.on_batch = committed

        async def one() -> None:
            saga_id = str(uuid7())
            new = NewSaga(id=saga_id, definition="checkout", version=1, order_id=saga_id, customer_id="cus-1")
            running = runner.launch(new)
            await running.done
            assert running.run.state.status is ends

        await tell(given.clients, given.seconds, one, commits=lambda: commits)


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    uvloop.run(main())
