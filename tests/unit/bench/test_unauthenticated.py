"""What the loads of those without a key come to."""

from __future__ import annotations

import pytest

from tests.bench.unauthenticated import Turns, row_of


def test_turns_change_and_so_does_which_comes_first() -> None:
    turns = Turns(begin=10.0, slot=0.5, slots=8)
    assert [turns.loaded(10.0 + n / 2) for n in range(8)] == [False, True, True, False] * 2
    assert turns.end == 14.0


def test_a_load_is_told_by_pairs_of_turns() -> None:
    """The machine was twice as slow for the second pair, which says nothing of the load."""
    row = row_of("a load", [[10.0], [11.0], [22.0, 22.0], [20.0], [], [9.0]])
    assert row.times == pytest.approx(1.1)
    assert (row.livez, row.beside) == (15.0, 22.0)
