"""A saga's log lines: who can be found by them."""

from __future__ import annotations

import uuid
from functools import partial

import pytest
from uuid_utils import uuid7

from app.bootstrap.telemetry import around_run
from app.saga import Definitions, SagaOrchestrator, StepRejected
from app.saga.engine.runner import SagaRunner
from app.telemetry.logs import log_events
from tests.builders import NotedLog, VirtualClock, a_definition, a_saga, settle, three_steps
from tests.unit.telemetry.conftest import Lines

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("given", [True, False])
async def test_every_line_of_a_saga_carries_its_trace(lines: Lines, *, given: bool) -> None:
    """The caller's, or the one that the saga's id names; beside another saga's at the same time."""
    clock = VirtualClock()
    definition = a_definition(three_steps([], shipping=[StepRejected("No.", code="no")]))
    log = NotedLog(clock, [])
    orchestrator = SagaOrchestrator(definition, log, clock=clock, observers=[log_events])
    runner = SagaRunner(
        Definitions([definition]), log, orchestrator, clock=clock, around=partial(around_run, None)
    )
    header = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"} if given else {}
    saga, other = a_saga(id=str(uuid7()), input=header), a_saga(id=str(uuid7()))
    both = [runner.launch(saga), runner.launch(other)]
    for running in both:
        await running.wait_done(10)
    await settle()
    told = lines.told("app.saga")
    traces = {one["saga"]: {line["trace"] for line in told if line["saga"] == one["saga"]} for one in told}
    assert traces == {
        saga.id: {TRACE if given else uuid.UUID(saga.id).hex},
        other.id: {uuid.UUID(other.id).hex},
    }
    (failed,) = (line for line in told if line["saga"] == saga.id and line["event"] == "step_failed")
    assert (failed["step"], failed["attempt"], failed["code"]) == ("shipping", 1, "no")
