"""A background loop survives every error, pauses between its turns, and finishes when told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.outage_reporter import OutageReporter
from app.saga.model.errors import LogUnavailable

_logger = logging.getLogger(__name__)


class _Turns:
    """A loop's work: each turn returns the next of `pauses`, or raises it; after the last one the loop finishes."""

    def __init__(self, *pauses: float | Exception, **options: object) -> None:
        self.pauses = list(pauses)
        self.slept: list[float] = []
        self.taken = 0
        self.during: Callable[[], None] = lambda: None
        given: dict[str, object] = {"sleep": self._sleep, "retry_seconds": 5.0, **options}
        self.loop = BackgroundLoop(self._turn, OutageReporter(_logger, "work"), **given)  # type: ignore[arg-type]

    async def _turn(self) -> float:
        self.taken += 1
        self.during()
        pause = self.pauses.pop(0)
        if not self.pauses:
            self.loop.finish()
        if isinstance(pause, Exception):
            raise pause
        return pause

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_turn_says_how_long_the_pause_after_it_is() -> None:
    turns = _Turns(1.0, 0.0, 2.0, 9.0, first_pause=3.0)
    await turns.loop.run()
    assert turns.slept == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("error", [LogUnavailable("no connection"), KeyError("a bug")])
async def test_a_turn_that_raises_is_followed_by_another(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """After a pause of its own, so that no failure takes a core; it is logged once, and so is its end."""
    turns = _Turns(error, error, error, 1.0, 1.0)
    await turns.loop.run()
    assert turns.slept == [5.0, 5.0, 5.0, 1.0]
    assert caplog.messages == ["work_failed", "work_recovered"]
    assert bool(caplog.records[0].exc_info) is isinstance(error, KeyError)


async def test_a_turn_that_shows_nothing_does_not_end_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    turns = _Turns(LogUnavailable("no connection"), 1.0, 1.0, conclusive=lambda: False)
    await turns.loop.run()
    assert caplog.messages == ["work_failed"]


async def _for_ever(_seconds: float) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("end", [BackgroundLoop.wake, BackgroundLoop.finish])
async def test_a_pause_ends_when_the_loop_is_woken_or_told_to_finish(
    end: Callable[[BackgroundLoop], None],
) -> None:
    turns = _Turns(1.0, 1.0, sleep=_for_ever)
    running = asyncio.create_task(turns.loop.run())
    await asyncio.sleep(0)
    end(turns.loop)
    async with asyncio.timeout(30):
        await running
    assert turns.taken == (2 if end is BackgroundLoop.wake else 1)


async def test_a_loop_that_is_woken_during_its_turn_does_not_pause_after_it() -> None:
    """What became due meanwhile may have been missed by the turn."""
    turns = _Turns(1.0, 2.0, 3.0)
    turns.during = lambda: turns.loop.wake() if turns.taken == 1 else None
    await turns.loop.run()
    assert turns.slept == [2.0]


async def test_a_loop_that_is_told_to_finish_before_it_runs_does_nothing() -> None:
    turns = _Turns(1.0, first_pause=1.0)
    turns.loop.finish()
    await turns.loop.run()
    assert (turns.taken, turns.slept) == (0, [])
