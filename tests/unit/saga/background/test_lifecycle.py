"""A component is started and stopped in any order, and leaves no task behind."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.lifecycle import Lifecycle
from app.saga.background.outage_reporter import OutageReporter
from tests.interleavings import any_order, tasks_left

_logger = logging.getLogger(__name__)


class _Component(Lifecycle):
    """A component with a loop and a piece of work; it counts what it holds."""

    def __init__(self, *, chance: random.Random | None = None) -> None:
        super().__init__()
        self.held = 0
        self.starts = 0
        self.turns = 0
        self.finished = 0
        self.fails: Exception | None = None
        self.gate = asyncio.Event()
        self._chance = chance

    @property
    def running(self) -> bool:
        return self.held == 1

    async def _on_start(self) -> None:
        self.starts += 1
        self.held += 1
        self._run_loop(BackgroundLoop(self._turn, OutageReporter(_logger, "turn"), retry_seconds=1.0))
        self._spawn(self._work())
        await self._steps()
        if self.fails is not None:
            raise self.fails

    async def _on_stop(self) -> None:
        await self._steps()
        self.held -= 1

    async def _steps(self) -> None:
        for _ in range(self._chance.randrange(4) if self._chance else 1):
            await asyncio.sleep(0)

    async def _turn(self) -> float:
        self.turns += 1
        await self._steps()
        return 3600.0

    async def _work(self) -> None:
        await self.gate.wait()
        self.finished += 1


async def test_a_component_starts_once_however_often_it_is_asked() -> None:
    component = _Component()
    await asyncio.gather(*(component.start() for _ in range(5)))
    assert (component.starts, component.held) == (1, 1)
    await asyncio.gather(*(component.stop() for _ in range(5)))
    assert component.held == 0
    assert not tasks_left()


async def test_a_component_that_was_never_started_can_be_stopped_and_then_started() -> None:
    component = _Component()
    await component.stop()
    await component.start()
    assert component.running
    await component.stop()
    await component.start()
    assert (component.starts, component.running) == (2, True)
    await component.stop()
    assert not tasks_left()


async def test_a_start_that_fails_releases_what_it_took_and_may_be_tried_again() -> None:
    component = _Component()
    component.fails = OSError("no connection")
    with pytest.raises(OSError, match="no connection"):
        await component.start()
    assert component.held == 0
    assert not tasks_left()
    component.fails = None
    await component.start()
    assert component.running
    await component.stop()


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    component = _Component()
    starting = asyncio.create_task(component.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert component.held == 0
    assert not tasks_left()


async def test_work_under_way_is_completed_within_the_grace() -> None:
    component = _Component()
    await component.start()
    stopping = asyncio.create_task(component.stop(3600.0))
    await asyncio.sleep(0)
    component.gate.set()
    async with asyncio.timeout(30):
        await stopping
    assert component.finished == 1


async def test_work_under_way_is_cancelled_once_the_grace_is_over() -> None:
    component = _Component()
    await component.start()
    await component.stop(0.001)
    assert component.finished == 0
    assert not tasks_left()


async def test_a_component_that_quiesces_starts_no_further_turn_and_completes_its_work() -> None:
    component = _Component()
    await component.start()
    await asyncio.sleep(0)
    component.quiesce()
    component.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert component.quiescing
    assert (component.turns, component.finished, component.held) == (1, 1, 1)
    await component.stop()
    await component.start()
    assert not component.quiescing
    await component.stop()


async def test_a_stop_that_is_cancelled_stops_all_the_same_and_at_once() -> None:
    """The caller learns of its cancellation only when nothing is left running."""
    component = _Component()
    await component.start()
    stopping = asyncio.create_task(component.stop(3600.0))
    for _ in range(3):
        await asyncio.sleep(0)
        stopping.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await stopping
    assert component.held == 0
    assert not tasks_left()


async def test_a_task_that_breaks_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    component = _Component()

    async def broken() -> None:
        raise KeyError("a bug")

    component._spawn(broken())
    await component.start()
    await component.stop()
    assert caplog.messages == ["background_task_failed"]
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("seed", range(50))
async def test_after_calls_in_any_order_and_a_stop_nothing_is_held(seed: int) -> None:
    chance = random.Random(seed)
    component = _Component(chance=chance)
    await any_order(component, chance)
    assert component.held == 0
    assert not tasks_left()
