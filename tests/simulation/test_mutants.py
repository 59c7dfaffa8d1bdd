"""The checker and the simulation, tested: a product with a bug in it must be caught."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.run import run

WITHIN = 400
"""How many seeds may go by before a bug is caught; `test_simulation` shows the product to be right on them."""

CAUGHT_BY = {"after the key window": 159, "no fence": 26, "unknown is no": 15}
"""The seeds that caught some bugs lately: they are tried before all others."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_bug_is_caught(name: str) -> None:
    """The bug breaks one of the promises that it is known to break, within a few hundred seeds."""
    mutant = MUTANTS[name]
    broken: set[str] = set()
    with mutant.planted():
        for seed in (CAUGHT_BY.get(name, 1), *range(1, WITHIN + 1)):
            broken |= {violation.invariant for violation in run(seed).violations}
            if broken & mutant.breaks:
                return
    pytest.fail(f"{mutant.what}: not caught in {WITHIN} seeds; they broke {sorted(broken) or 'nothing'}")


def test_a_bug_is_gone_once_it_was_taken_out() -> None:
    """A mutant leaves nothing behind: the same seeds give the same runs before and after it."""
    before = [run(seed).hash for seed in (1, 2, 3)]
    for mutant in MUTANTS.values():
        with mutant.planted():
            run(1)
    assert [run(seed).hash for seed in (1, 2, 3)] == before
