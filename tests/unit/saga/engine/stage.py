"""A stage for an orchestrator: steps with scripted answers, and one journal of all that happens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.saga import (
    RetryPolicy,
    SagaDefinition,
    SagaOrchestrator,
    StepOutcomeUnknown,
    StepRejected,
    StepUnavailable,
)
from app.saga.engine.saga_instance import SagaInstance
from tests.builders import (
    QUICK,
    Answer,
    Journal,
    NotedLog,
    VirtualClock,
    a_definition,
    a_saga,
    the_most,
    three_steps,
)

NO = StepRejected(code="out_of_stock")


DOWN = StepUnavailable()


DOUBT = StepOutcomeUnknown()


@dataclass
class Stage:
    """A saga's steps and log with one journal of all that happens."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    journal: Journal = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = NotedLog(self.clock, self.journal)

    def orchestrator(self, definition: SagaDefinition, **options: Any) -> SagaOrchestrator:
        return SagaOrchestrator(definition, self.log, clock=self.clock, jitter=the_most, **options)

    async def play(
        self,
        *,
        policy: RetryPolicy = QUICK,
        compensation: RetryPolicy = QUICK,
        pivot: str | None = None,
        **answers: Iterable[Answer],
    ) -> SagaInstance:
        """Run a saga of three steps with these answers until the loop leaves it."""
        steps = three_steps(self.journal, **answers)
        definition = a_definition(steps, policy=policy, compensation=compensation, pivot=pivot)
        return await self.run(definition)

    async def run(self, definition: SagaDefinition, **options: Any) -> SagaInstance:
        run = SagaInstance(a_saga(), definition)
        orchestrator = self.orchestrator(definition, **options)
        await orchestrator.start(run)
        await orchestrator.run(run)
        return run
