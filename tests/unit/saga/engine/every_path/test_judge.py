"""The judge is checked: each of these mistakes has to be caught."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.saga import (
    StoredSaga,
)
from tests.unit.saga.engine.every_path.judge import judge
from tests.unit.saga.engine.every_path.life import Life, no_pause
from tests.unit.saga.engine.every_path.world import Fate, Way, World


class TestTheJudge:
    """The checker is checked: each of these mistakes has to be caught."""

    async def lived(self, plan: Sequence[int]) -> tuple[Life, StoredSaga]:
        life = Life(World(Fate(plan)), policy=no_pause(1), compensation=no_pause(1))
        stored = await life.live()
        assert stored is not None
        return life, stored

    async def test_it_catches_something_left_standing(self) -> None:
        """A compensation that was acknowledged but did nothing."""
        life, stored = await self.lived([0, 0, 1])
        life.world.participants["payment"].stands = True
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_an_open_reference_with_an_action_on_its_way(self) -> None:
        """Compensated, but not closed: the late action comes through."""
        life, stored = await self.lived([0, 5, 0])
        life.world.participants["inventory"].closed = False
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_compensation_in_forward_order(self) -> None:
        """Strict reverse, or nothing."""
        life, stored = await self.lived([0, 0, 1])
        life.world.sends[-2:] = reversed(life.world.sends[-2:])
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_an_attempt_number_in_the_body(self) -> None:
        """The body is identical on every retry."""
        life, stored = await self.lived([])
        body = life.world.participants["payment"].bodies[0]
        life.world.participants["payment"].bodies.append({**body, "attempt": 2})
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_going_back_past_the_pivot(self) -> None:
        """The trail itself is checked, also where its state would have forgotten the pivot."""
        life, stored = await self.lived([0, 0, 1])
        life.pivot = "inventory"
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_undoing_what_never_happened(self) -> None:
        """A definite no is not compensated."""
        life, stored = await self.lived([0, 1])
        life.world.participants["inventory"].undone.append(Way.OK)
        with pytest.raises(AssertionError):
            judge(life, stored)
