"""The end of a process, on a loop whose time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from app.process.drain import Drain
from tests.simulation.loop import VirtualLoop

SECONDS = 20.0


class Sagas:
    """What runs here, until a test ends it; `idle` waits as a runner's does."""

    def __init__(self) -> None:
        self.finished = asyncio.Event()

    async def idle(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.finished.wait()
        except TimeoutError:
            pass


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    """Give a loop in which an hour takes no time."""
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_the_start_quiesces_everything_once(loop: VirtualLoop) -> None:
    """A second signal begins no second drain, and gives no more time."""

    async def main() -> None:
        quiesced: list[bool] = []
        drain = Drain(
            asyncio.Event(),
            SECONDS,
            idle=Sagas().idle,
            quiesce=(lambda: quiesced.append(drain.draining.is_set()),),
        )
        assert drain.seconds_left == 0.0
        drain.start()
        await asyncio.sleep(5.0)
        drain.start()
        assert quiesced == [True]
        assert drain.seconds_left == SECONDS - 5.0

    loop.run(main())


def test_it_is_idle_as_soon_as_the_last_saga_has_finished(loop: VirtualLoop) -> None:
    """The server needn't wait for the end of the time."""

    async def main() -> None:
        sagas, idle_at = Sagas(), list[float]()
        drain = Drain(asyncio.Event(), SECONDS, idle=sagas.idle)
        drain.start(lambda: idle_at.append(loop.time()))
        await asyncio.sleep(3.0)
        assert idle_at == []
        sagas.finished.set()
        await asyncio.sleep(1.0)
        assert idle_at == [3.0]
        assert not drain.time_up.is_set()

    loop.run(main())


def test_sagas_that_do_not_finish_get_the_span_and_no_more(loop: VirtualLoop) -> None:
    """Then clients are answered with the status as it is, and the server may close their connections."""

    async def main() -> None:
        idle_at: list[float] = []
        drain = Drain(asyncio.Event(), SECONDS, idle=Sagas().idle)
        drain.start(lambda: idle_at.append(loop.time()))
        await drain.time_up.wait()
        assert loop.time() == SECONDS
        await asyncio.sleep(1.0)
        assert idle_at == [SECONDS]
        assert drain.seconds_left == 0.0

    loop.run(main())
