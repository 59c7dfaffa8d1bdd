"""X-Simulate: faults on demand, if the services behind this API are the sandbox."""

from __future__ import annotations

from collections.abc import Sequence

from app.api.problems.problem import Problem
from app.sandbox.faults import SimulationError, parse


def simulation(headers: Sequence[str], *, allowed: bool) -> str | None:
    """Return the faults for the sandbox, as text.

    Raise a problem if it can't be read, or if the services aren't the sandbox.
    """
    if not headers:
        return None
    if not allowed:
        raise Problem("simulation_unavailable")
    text = ", ".join(headers)
    try:
        parse(text)
    except SimulationError as error:
        raise Problem("bad_simulation", str(error)) from None
    return text
