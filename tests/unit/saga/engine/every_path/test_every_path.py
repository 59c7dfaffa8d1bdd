"""Every way that a saga can go: all answers, crashes and takeovers, judged by what then stands outside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.saga import (
    EventType,
    RetryPolicy,
    SagaFenced,
    SagaStatus,
)
from app.saga.engine.lease import Lease
from app.saga.model.errors import LeaseLost
from app.saga.rules.decide import POISON_AFTER
from tests.unit.saga.engine.every_path.judge import judge, judge_after_standstill
from tests.unit.saga.engine.every_path.life import ALMOST_FOR_EVER, Life, no_pause
from tests.unit.saga.engine.every_path.world import BACK, FORWARD, NAMES, Fate, Way, World

EVERYTHING = pytest.mark.parametrize(
    "everything", [False, pytest.param(True, marks=pytest.mark.proof)], ids=["a part", "everything"]
)
"""Walk the whole product (130,000 lives, minutes) instead of its faces: the way back in full for a short
way there, and the way there in full for a short way back; neither looks at how the other went."""


BACK_CLEAR = (Way.OK, Way.REJECTED)


FORWARD_HEARD = (Way.OK, Way.REJECTED, Way.UNAVAILABLE, Way.UNKNOWN_LATE)


BACK_HEARD = (Way.OK, Way.REJECTED, Way.UNAVAILABLE, Way.UNKNOWN_LOST)


async def walk(
    *,
    attempts: int,
    patience: int,
    forward: Sequence[Way],
    back: Sequence[Way],
    crash_at_each: int = 0,
    pivot: str | None = None,
) -> tuple[int, dict[str, int]]:
    """Go every way there is, and each once more for a death at each boundary, or at one in so many."""
    lives, ends = 0, {"completed": 0, "compensated": 0, "needs_attention": 0, "None": 0}

    async def each(crashes: frozenset[int]) -> int:
        """Walk all plans under these crashes; return the most boundaries that one passed."""
        nonlocal lives
        most = 0
        plan: list[int] | None = []
        while plan is not None:
            world = World(Fate(plan), crashes=crashes, forward=forward, back=back)
            life = Life(world, policy=no_pause(attempts), compensation=no_pause(patience), pivot=pivot)
            ends[str(judge(life, await life.live()))] += 1
            lives += 1
            most = max(most, world.boundaries)
            plan = world.fate.next_plan()
        return most

    most = await each(frozenset())
    for moment in range(1, most + 1, crash_at_each) if crash_at_each else ():
        await each(frozenset({moment}))
    return lives, ends


@pytest.mark.parametrize(
    ("pivot", "back", "crash_at_each"),
    [
        ("inventory", BACK_CLEAR, 1),
        ("shipping", BACK_CLEAR, 4),
        *(pytest.param(pivot, BACK, 1, marks=pytest.mark.proof) for pivot in ("inventory", "shipping", None)),
    ],
)
async def test_every_answer_with_a_crash_at_every_moment_ends_well(
    pivot: str | None, back: Sequence[Way], crash_at_each: int
) -> None:
    """Every sequence of answers, each outcome nobody knows in all its truths, a death at each boundary."""
    lives, ends = await walk(
        attempts=1, patience=1, forward=FORWARD, back=back, crash_at_each=crash_at_each, pivot=pivot
    )
    assert lives > 1_000
    assert all(ends.values()), f"a way to end was never taken: {ends}"


@EVERYTHING
async def test_every_answer_to_every_retry_ends_well(*, everything: bool) -> None:
    """Every sequence of the four answers where each action is sent up to twice."""
    patience, back = (2, BACK_HEARD) if everything else (1, (Way.OK, Way.UNKNOWN_LOST))
    lives, ends = await walk(attempts=2, patience=patience, forward=FORWARD_HEARD, back=back)
    assert lives >= 500
    assert min(ends["completed"], ends["compensated"], ends["needs_attention"]) > 0


async def test_every_answer_to_every_retry_of_a_compensation_ends_well() -> None:
    """Every sequence of the four answers where each compensation is sent up to twice."""
    lives, ends = await walk(attempts=1, patience=2, forward=FORWARD_HEARD, back=BACK_HEARD)
    assert lives > 1_000
    assert min(ends["completed"], ends["compensated"], ends["needs_attention"]) > 0


@EVERYTHING
async def test_two_crashes_in_one_saga_end_well(*, everything: bool) -> None:
    """Every pair of moments, along a way that goes forward, doubts, and goes back."""
    ways = [[0], [0, 0, 1], [0, 0, 5, 0], [0, 5, 1], [3, 0, 4, 2], [0, 4, 0, 0, 1]]
    for plan in ways:
        for first in range(1, 24):
            for second in range(first + 1, first + 16, 1 if everything else 3):
                world = World(Fate(plan), crashes=frozenset({first, second}))
                life = Life(world, policy=no_pause(2), compensation=no_pause(3))
                judge(life, await life.live())


@given(
    plan=st.lists(st.integers(0, 29), max_size=40),
    crashes=st.frozensets(st.integers(1, 60), max_size=8),
    attempts=st.integers(1, 4),
    patience=st.integers(1, 4),
    pivot=st.sampled_from([None, *NAMES]),
    deadline=st.sampled_from([1.0, 30.0, 300.0, ALMOST_FOR_EVER]),
    park_after=st.sampled_from([0.0, 5.0, ALMOST_FOR_EVER]),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_whatever_happens_the_saga_ends_well(
    plan: list[int],
    crashes: frozenset[int],
    attempts: int,
    patience: int,
    pivot: str | None,
    deadline: float,
    park_after: float,
    jitter: float,
) -> None:
    """Any answers, any deaths, any policy, with pauses, parking, a pivot and a deadline."""
    life = Life(
        World(Fate(plan), crashes=crashes),
        policy=RetryPolicy(attempts=attempts, base=1, cap=20),
        compensation=RetryPolicy(attempts=patience, base=1, cap=20),
        pivot=pivot,
        deadline=deadline,
        park_after=park_after,
        jitter=jitter,
    )
    judge(life, asyncio.run(life.live()))


@given(
    plan=st.lists(st.integers(0, 29), max_size=20),
    crashes=st.frozensets(st.integers(1, 40), max_size=4),
    cancelled_at=st.integers(1, 30),
    pivot=st.sampled_from([None, *NAMES]),
    park_after=st.sampled_from([0.0, ALMOST_FOR_EVER]),
    told=st.booleans(),
)
def test_a_saga_that_is_cancelled_at_any_moment_ends_well(
    plan: list[int],
    crashes: frozenset[int],
    cancelled_at: int,
    pivot: str | None,
    park_after: float,
    told: bool,
) -> None:
    """Whatever is under way then, and whoever dies over it: compensated in order, or past its pivot and completed."""
    life = Life(
        World(Fate(plan), crashes=crashes, cancelled_at=cancelled_at),
        policy=RetryPolicy(attempts=3, base=1, cap=20),
        compensation=RetryPolicy(attempts=3, base=1, cap=20),
        pivot=pivot,
        park_after=park_after,
        told=told,
    )
    stored = asyncio.run(life.live())
    status = judge(life, stored)
    if stored is None or life.sent_when_cancelled is None:
        return
    words = [event.type for event in stored.events]
    assert words.count(EventType.CANCEL_REQUESTED) <= 1
    assert EventType.CANCEL_REQUESTED not in words or status is not SagaStatus.COMPLETED
    if told and pivot not in {e.step for e in stored.events if e.type is EventType.STEP_SUCCEEDED}:
        since = life.world.sends[life.sent_when_cancelled :]
        assert "execute" not in {action for action, _ in since}, "it went forward though it was to be stopped"


def test_a_saga_that_always_kills_its_process_is_parked_for_an_operator() -> None:
    """Five takeovers, then no more: the poison harms nobody else."""
    world = World(Fate(), poison="inventory")
    life = Life(world, policy=no_pause(1), compensation=no_pause(1))
    stored = asyncio.run(life.live())
    assert judge(life, stored) is SagaStatus.NEEDS_ATTENTION
    assert stored is not None
    assert [event.type for event in stored.events].count(EventType.SAGA_RECOVERED) == POISON_AFTER
    assert world.sends.count(("execute", "inventory")) == POISON_AFTER


STANDSTILLS = [[], [1], [0, 1], [0, 0, 1], [0, 3], [0, 5, 2], [0, 0, 4], [0, 0, 1, 2, 0, 1]]


@pytest.mark.parametrize("plan", STANDSTILLS, ids=str)
async def test_a_process_that_wakes_after_its_saga_was_taken_over_changes_nothing(plan: list[int]) -> None:
    """Stopped (SIGSTOP) at any moment, woken when another has finished: fenced, and what it sends comes to nothing."""
    for moment in range(1, 40):
        world = World(Fate(plan), stands_still_at=moment)
        life = Life(world, policy=no_pause(2), compensation=no_pause(2))
        await life.log.renew("zombie", seconds=10)
        lease = Lease(life.clock, "zombie", seconds=10)
        lease.renewed(life.clock.monotonic())
        zombie = asyncio.create_task(life.begin(lease))
        stopped = asyncio.create_task(world.still.wait())
        await asyncio.wait({zombie, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not world.still.is_set():
            stopped.cancel()
            await zombie
            assert moment > world.boundaries
            return
        life.clock.advance(11)
        await life.finish()
        rested = await life.log.load(life.saga.id)
        world.wake.set()
        (ended,) = await asyncio.gather(zombie, return_exceptions=True)
        if rested is None:  # it stood still before its saga was durable, and nobody else knows it
            assert isinstance(ended, LeaseLost)
            await life.finish()
            judge(life, await life.log.load(life.saga.id))
            continue
        assert ended is None or isinstance(ended, SagaFenced | LeaseLost)
        assert await life.log.load(life.saga.id) == rested
        judge_after_standstill(life, rested)
    pytest.fail("The saga has more moments than were tried.")
