"""Plans that failed once, each in a file `regressions/<seed>-<what>.json`, replayed for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.simulation.plan import Plan, of_json, to_json
from tests.simulation.run import Result

FOLDER = Path(__file__).parent / "regressions"


def keep(result: Result) -> Path:
    """Store a failing run's seed and plan, under the name of the promise that it broke."""
    what = result.violations[0].invariant
    path = FOLDER / f"{result.seed}-{what}.json"
    FOLDER.mkdir(exist_ok=True)
    path.write_text(f'{{"seed": {result.seed}, "broke": "{what}", "plan":\n{to_json(result.plan)}}}\n')
    return path


def kept() -> Iterator[tuple[str, int, Plan]]:
    """Return each regression's name, seed and plan."""
    for path in sorted(FOLDER.glob("*.json")):
        stored = json.loads(path.read_text())
        yield path.stem, stored["seed"], of_json(stored["plan"])
