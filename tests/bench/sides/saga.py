"""This service's sagas: three steps that do nothing, in process, over the log at the URL.

With --whole-orders its rows are like the service's own: an order, answers as the sandbox's, an idempotency key.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace

from uuid_utils import uuid7

from app.saga import Definitions, NewSaga, SagaDefinition, SagaOrchestrator, SagaStatus, StepRejected
from app.saga.engine.runner import SagaRunner
from app.saga.model.step import JSON, Context
from app.saga.ports.clock import SystemClock
from app.storage import open_storage
from tests.bench.sides.clock import asked, tell
from tests.bench.sides.process import run
from tests.processes import an_order

ANSWERS: Mapping[str, dict[str, JSON]] = {
    "payment": {"payment_id": f"pay_{'0' * 24}", "amount": 3998, "currency": "EUR", "status": "captured"},
    "inventory": {"reservation_id": f"res_{'0' * 24}", "status": "reserved"},
    "shipping": {
        "shipment_id": f"shp_{'0' * 24}",
        "status": "booked",
        "carrier": "Sandbox Post",
        "tracking_number": f"SP_{'0' * 24}",
    },
}


class Nothing:
    """A step that does nothing, successfully, or refuses."""

    def __init__(self, name: str, answer: dict[str, JSON] | None = None, *, refuses: bool = False) -> None:
        self.name = name
        self._answer = answer or {"id": name}
        self._refuses = refuses

    async def execute(self, _context: Context) -> dict[str, JSON]:
        if self._refuses:
            raise StepRejected("Nothing is delivered there.")
        return self._answer

    async def compensate(self, _context: Context) -> None: ...


async def main() -> None:
    """Measure whole sagas, durable at each boundary."""
    given = asked("--whole-orders")
    whole = given.whole_orders
    refuses = given.outcome == "compensated"
    payment, inventory, shipping = (
        Nothing(name, answer if whole else None, refuses=refuses and name == "shipping")
        for name, answer in ANSWERS.items()
    )
    definition = SagaDefinition("checkout").do(payment).do(inventory).pivot(shipping)
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
            if whole:
                new = replace(
                    new,
                    input=an_order(saga_id),
                    idempotency_key=secrets.token_hex(16),
                    fingerprint="0" * 64,
                    request_id=saga_id,
                )
            running = runner.launch(new)
            await running.done
            assert running.instance.state.status is ends

        await tell(given.clients, given.seconds, one, commits=lambda: commits)


if __name__ == "__main__":
    run(main())
