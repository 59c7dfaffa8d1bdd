"""The list of boundaries as it was recorded, so that a new await without its test shows as a difference."""

from __future__ import annotations

from pathlib import Path

from tests.crash.crash_plans import boundaries
from tests.crash.scenarios import SCENARIOS

RECORD = Path(__file__).with_name("boundaries.txt")
_HEAD = """\
# Every call that the product makes through a port, in its order, in each scenario of tests/crash/scenarios.py.
# A process is stopped at each of them, before and after. `python -m tests.crash --record` rewrites this list.
"""


def recorded() -> str:
    """Return the record."""
    return RECORD.read_text(encoding="utf-8")


def observed() -> str:
    """Return what the record would be now."""
    return _HEAD + "".join(_listed(scenario.name, boundaries(scenario)) for scenario in SCENARIOS)


def write() -> None:
    """Record what is observed now."""
    RECORD.write_text(observed(), encoding="utf-8")


def _listed(name: str, passed: list[str]) -> str:
    lines = "".join(f"{number:4} {boundary}\n" for number, boundary in enumerate(passed, start=1))
    return f"\n{name}\n{lines}"
