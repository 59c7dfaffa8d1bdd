"""The harness is tested too: mistakes put into the product on purpose have to be caught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.saga.engine.runner import SagaRunner
from app.saga.model.events import SagaEvent
from app.saga.model.status import INACTIVE
from app.saga.ports.log import NewSaga, RowChange, StartResult, Stored
from app.saga.ports.memory_log import MemoryLog
from tests.crash.boundary import Mode, Stop
from tests.crash.crash_plans import SAMPLE, boundaries, deaths
from tests.crash.loop import WorldClock
from tests.crash.plan_run import run_plan, two_owners
from tests.crash.scenarios import BY_NAME

_NO_APPENDS = ("log.renew", "log.claim", "log.start", "log.load", "log.release")
COMPLETED, NOWHERE = BY_NAME["completed"], BY_NAME["address XX"]


class Unfenced(MemoryLog):
    """A log that takes an append from whoever sends it."""

    async def append(
        self, saga_id: str, *, epoch: int, events: Sequence[SagaEvent], change: RowChange | None = None
    ) -> None:
        row = self._rows[saga_id]
        row.events.extend((epoch, event) for event in events)
        if change:
            row.status, row.next_action_at = change.status, change.next_action_at
            if change.park or change.status in INACTIVE:
                row.owner = None


class LateStart(MemoryLog):
    """A log that says of a start that it is durable, and stores it with the first append only."""

    def __init__(self, clock: WorldClock) -> None:
        super().__init__(clock)
        self._late: dict[str, tuple[NewSaga, SagaEvent, str]] = {}

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        if any(row.saga.idempotency_key == saga.idempotency_key for row in self._rows.values()):
            return await super().start(saga, event, owner=owner)
        self._late[saga.id] = (saga, event, owner)
        return Stored()

    async def append(
        self, saga_id: str, *, epoch: int, events: Sequence[SagaEvent], change: RowChange | None = None
    ) -> None:
        if saga_id in self._late:
            saga, event, owner = self._late.pop(saga_id)
            await super().start(saga, event, owner=owner)
        await super().append(saga_id, epoch=epoch, events=events, change=change)


def test_without_the_fence_every_zombie_that_still_writes_is_caught() -> None:
    """It wakes with an append in hand, or with the answer that makes one: the log has changed."""
    for scenario in (COMPLETED, NOWHERE):
        for stop in deaths(scenario, extent=SAMPLE):
            boundary = boundaries(scenario)[stop.at - 1]
            writes = Mode.BEFORE if boundary.startswith("log.append") else Mode.AFTER
            if stop.mode is writes and not boundary.startswith(_NO_APPENDS):
                wrong = two_owners(scenario, stop, make_log=Unfenced).verdict.wrong
                assert "the zombie changed the log" in wrong, f"{scenario}, {stop} {boundary}: {wrong}"


def test_an_effect_before_the_saga_is_durable_is_caught() -> None:
    """Who dies after the charge leaves a charge that nobody knows; the client comes back and pays again."""
    stop = Stop(boundaries(COMPLETED).index("payment.put") + 1, Mode.AFTER)
    verdict = run_plan(COMPLETED, stop, make_log=LateStart).verdict
    assert verdict.doubled
    assert verdict.wrong


def test_a_saga_that_nobody_runs_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A living owner that doesn't give up what it can't go on with."""

    async def keep(*_: Any) -> None:
        """Do nothing."""

    monkeypatch.setattr(SagaRunner, "_abandon", keep)
    stop = Stop(boundaries(COMPLETED).index("log.append step_succeeded payment") + 1, Mode.BROKEN)
    assert run_plan(COMPLETED, stop).verdict.lost
