"""Makes a failing plan as short as it can be while the same promise stays broken."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.plan import Plan
from tests.simulation.run import Result

Play = Callable[[Plan], Result]


def shrunk(result: Result, play: Play) -> Result:
    """Return the failing run of the shortest plan that was found.

    Takes away halves, then quarters, down to single faults (Zeller & Hildebrandt, "Simplifying and
    Isolating Failure-Inducing Input", IEEE TSE 2002).
    """
    broken = {violation.invariant for violation in result.violations}
    size = max(1, len(result.plan) // 2)
    while True:
        shorter = _without_a_part(result, size, broken, play)
        if shorter is not None:
            result = shorter
            size = min(size, max(1, len(result.plan) // 2))
        elif size == 1:
            return result
        else:
            size //= 2


def _without_a_part(result: Result, size: int, broken: set[str], play: Play) -> Result | None:
    for begin in range(0, len(result.plan), size):
        plan = result.plan[:begin] + result.plan[begin + size :]
        tried = play(plan)
        if broken & {violation.invariant for violation in tried.violations}:
            return tried
    return None
