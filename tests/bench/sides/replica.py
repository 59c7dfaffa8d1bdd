"""A replica: the runner with its recovery loop and steps that do nothing; clients check out beside it.

It stops after `--seconds`; or, given `--unfinished`, once it has taken over so many and none is left in its
hands, but after `--at-most` seconds in any case.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time

from uuid_utils import uuid7

from app.process.ids import new_owner
from app.saga import Definitions, NewSaga, SagaDefinition, SagaOrchestrator, SagaStatus
from app.saga.engine.lease import Lease
from app.saga.engine.lease_keeper import LeaseKeeper
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import StoredSaga
from app.settings.settings import Settings
from app.storage import Storage, open_storage
from tests.bench.sides.clock import memory, processor_seconds
from tests.bench.sides.process import run
from tests.bench.sides.saga import Nothing

LOOK_SECONDS = 0.02


class Replica:
    """The runner and its recovery, wired as the service wires them, under its default settings."""

    def __init__(self, storage: Storage) -> None:
        settings = Settings()
        definition = (
            SagaDefinition("checkout")
            .do(Nothing("payment"))
            .do(Nothing("inventory"))
            .pivot(Nothing("shipping"))
        )
        clock, definitions = SystemClock(), Definitions([definition])
        lease = Lease(clock, new_owner(), settings.lease_seconds)
        orchestrator = SagaOrchestrator(
            definition, storage.log, clock=clock, lease=lease, park_after=settings.park_after_seconds
        )
        self.runner = SagaRunner(definitions, storage.log, orchestrator, clock=clock)
        self.recovery = Recovery(
            storage.log,
            self.runner,
            definitions,
            lease,
            clock=clock,
            poll_seconds=settings.recovery_poll_seconds,
            max_in_flight=settings.recovery_max_in_flight,
        )
        self._keeper = LeaseKeeper(
            storage.log, lease, clock=clock, new_owner=new_owner, drop=self.runner.drop
        )
        self.recovery.on_takeover = self._note
        self.taken_over = 0

    async def start(self) -> None:
        """Take the lease, then take over what is due."""
        await self._keeper.start()
        await self.recovery.start()

    async def stop(self) -> None:
        """Stop taking over, then release the lease."""
        await self.recovery.stop()
        await self._keeper.stop()

    def _note(self, _stored: StoredSaga) -> None:
        self.taken_over += 1

    async def check_out(self) -> None:
        """Run one new checkout to its end."""
        saga_id = str(uuid7())
        new = NewSaga(id=saga_id, definition="checkout", version=1, order_id=saga_id, customer_id="cus-1")
        running = self.runner.launch(new)
        await running.done
        assert running.instance.state.status is SagaStatus.COMPLETED

    async def recovered(self, unfinished: int) -> None:
        """Return once so many were taken over and none of them is left in its hands."""
        while self.taken_over < unfinished or self.runner.resumed_in_flight:  # noqa: ASYNC110 (two counts to look at, no event)
            await asyncio.sleep(LOOK_SECONDS)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--unfinished", type=int, default=0)
    parser.add_argument("--at-most", type=float, default=900.0)
    parser.add_argument("--outcome", help="is always completed")
    return parser.parse_args()


async def main() -> None:
    """Run it, and print what it did."""
    given = _asked()
    async with open_storage(given.url) as storage:
        replica = Replica(storage)
        took: list[float] = []
        over = asyncio.Event()

        async def client() -> None:
            while not over.is_set():
                start = time.perf_counter()
                await replica.check_out()
                took.append(time.perf_counter() - start)

        began, used = time.perf_counter(), processor_seconds("self")
        await replica.start()
        clients = [asyncio.create_task(client()) for _ in range(given.clients)]
        if given.unfinished:
            with contextlib.suppress(TimeoutError):  # what is left then is told as lost
                async with asyncio.timeout(given.at_most):
                    await replica.recovered(given.unfinished)
        else:
            await asyncio.sleep(given.seconds)
        lasted, used = time.perf_counter() - began, processor_seconds("self") - used
        over.set()
        await asyncio.gather(*clients)
        await replica.stop()
    took.sort()
    told = {
        "rate": len(took) / lasted,
        "p50": statistics.median(took) * 1000 if took else 0.0,
        "p99": took[min(len(took) - 1, int(len(took) * 0.99))] * 1000 if took else 0.0,
        "cpu_ms_per_second": used / lasted * 1000,
        "memory": memory("self"),
        "checkouts": len(took),
        "taken_over": replica.taken_over,
        "lasted": lasted,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    run(main())
