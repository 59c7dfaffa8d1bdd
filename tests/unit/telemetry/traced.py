"""Replicas over one log in memory, each with traces of its own that a test can read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.saga import Definitions, SagaOrchestrator
from app.saga.engine.runner import SagaRunner
from app.telemetry.traces import Traces
from tests.builders import Answer, NotedLog, VirtualClock, a_definition, the_most, three_steps


@dataclass
class Replica:
    """A runner and what it traced."""

    runner: SagaRunner
    traces: Traces
    exporter: InMemorySpanExporter

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def span(self, name: str) -> ReadableSpan:
        """Return the one span of that name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found


@dataclass
class House:
    """One log and one clock for all replicas."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    log: NotedLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = NotedLog(self.clock, [])

    def a_replica(self, *, park_after: float = float("inf"), **answers: Iterable[Answer]) -> Replica:
        """Return a replica; `shipping=[…]` scripts a step's answers."""
        exporter = InMemorySpanExporter()
        traces = Traces(SimpleSpanProcessor(exporter), now=self.clock.now)
        definition = a_definition(three_steps([], **answers))
        orchestrator = SagaOrchestrator(
            definition,
            self.log,
            clock=self.clock,
            jitter=the_most,
            park_after=park_after,
            observers=[traces.observe],
        )
        runner = SagaRunner(
            Definitions([definition]), self.log, orchestrator, clock=self.clock, around=traces.around
        )
        return Replica(runner=runner, traces=traces, exporter=exporter)
