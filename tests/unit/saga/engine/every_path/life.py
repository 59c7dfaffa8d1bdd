"""One saga in one world, run by as many processes as it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from app.saga import (
    MemoryLog,
    NewSaga,
    RetryPolicy,
    SagaDefinition,
    SagaEvent,
    SagaOrchestrator,
    StoredSaga,
    fold,
)
from app.saga.engine.lease import Lease
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.status import INACTIVE
from app.saga.ports.log import RowChange, StartResult
from tests.builders import VirtualClock, a_saga, an_action
from tests.unit.saga.engine.every_path.world import Crash, World

ALMOST_FOR_EVER = 1e9


class MortalLog(MemoryLog):
    """A log in memory at whose doors the process may die, before or after the write."""

    def __init__(self, clock: VirtualClock, world: World) -> None:
        super().__init__(clock)
        self._world = world

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        await self._world.boundary()
        result = await super().start(saga, event, owner=owner)
        await self._world.boundary()
        return result

    async def append(
        self, saga_id: str, *, epoch: int, events: Sequence[SagaEvent], change: RowChange | None = None
    ) -> None:
        await self._world.boundary()
        await super().append(saga_id, epoch=epoch, events=events, change=change)
        await self._world.boundary()


@dataclass
class Life:
    """One saga in one world, run by as many processes, one after the other, as it takes."""

    world: World
    policy: RetryPolicy
    compensation: RetryPolicy
    pivot: str | None = None
    deadline: float = ALMOST_FOR_EVER
    park_after: float = ALMOST_FOR_EVER
    jitter: float = 0.5
    told: bool = True
    saga: NewSaga = field(default_factory=a_saga)
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.log = MortalLog(self.clock, self.world)
        self.world.cancel = self._cancel
        self.running: SagaInstance | None = None
        self.sent_when_cancelled: int | None = None
        self.definition = self._defined()

    def _defined(self) -> SagaDefinition:
        definition, past = SagaDefinition("checkout", deadline=self.deadline), False
        for name, step in self.world.participants.items():
            if past:
                definition = definition.then(step, policy=self.policy)
            elif name == self.pivot:
                past = True
                definition = definition.pivot(step, policy=self.policy, compensation=self.compensation)
            else:
                definition = definition.do(step, policy=self.policy, compensation=self.compensation)
        return definition

    def orchestrator(self, lease: Lease | None = None) -> SagaOrchestrator:
        return SagaOrchestrator(
            self.definition,
            self.log,
            clock=self.clock,
            jitter=lambda: self.jitter,
            park_after=self.park_after,
            lease=lease,
        )

    async def begin(self, lease: Lease | None = None) -> None:
        """Live until the saga is given back or rests; raise `Crash` where the process dies."""
        self.running = run = SagaInstance(self.saga, self.definition)
        orchestrator = self.orchestrator(lease)
        await orchestrator.start(run)
        await orchestrator.run(run)

    async def take_over(self, owner: str) -> bool:
        """Return whether there was a saga to claim; live with it as far as it goes."""
        for stored in await self.log.claim(owner=owner, definitions=[("checkout", 2)], limit=1):
            self.running = SagaInstance.of(stored, self.definition)
            await self.orchestrator().run(self.running)
            return True
        return False

    async def _cancel(self) -> None:
        """Have an operator stop the saga; who runs it hears of it where they are `told`."""
        request = await self.log.request_cancel(self.saga.id, an_action())
        if request is None:
            return
        self.sent_when_cancelled = len(self.world.sends)
        if self.told and self.running is not None:
            self.running.cancel(request)

    async def finish(self) -> None:
        """Let processes come and go until the saga rests."""
        for process in range(100):
            stored = await self.log.load(self.saga.id)
            if stored is None or fold(self.definition, stored.events).status in INACTIVE:
                return
            try:
                claimed = await self.take_over(f"process {process}")
            except Crash:
                continue
            if not claimed:
                self.clock.advance(600)
        pytest.fail("The saga never came to rest.")

    async def live(self) -> StoredSaga | None:
        """Return the saga when it rests, or None where its start never became durable."""
        with contextlib.suppress(Crash):
            await self.begin()
        await self.finish()
        return await self.log.load(self.saga.id)


def no_pause(attempts: int) -> RetryPolicy:
    return RetryPolicy(attempts=attempts, base=0, cap=0)
