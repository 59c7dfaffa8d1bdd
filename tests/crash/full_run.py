"""Every plan: each boundary, mode and second stop; in memory on all cores, then on real databases."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from app.storage.schema.migrations import upgrade
from tests.crash.boundary import Stop
from tests.crash.crash_plans import (
    WHOLE,
    boundaries,
    deaths,
    double_crashes,
    interleavings,
    run_plan_once,
    single_crashes,
    two_owners_once,
)
from tests.crash.judge import Verdict
from tests.crash.plan_run import run_plan, two_owners
from tests.crash.scenarios import BY_NAME, SCENARIOS
from tests.crash.sql_world import run_plan_on
from tests.postgres import Databases, a_server

PARTS = ("single crashes", "double crashes", "interleavings")
SHARES = 2
"""Into how many shares the second stops of a scenario are cut, so that all cores end together."""


@dataclass(kw_only=True)
class BucketCount:
    """How many runs there were, and what went wrong in them."""

    runs: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)

    def count(self, part: str, verdict: Verdict) -> None:
        """Add a run."""
        self.runs[part] += 1
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        if verdict.wrong:
            self.wrong.append(str(verdict))

    def add(self, other: BucketCount) -> None:
        """Add another's."""
        self.runs += other.runs
        self.lost += other.lost
        self.doubled += other.doubled
        self.wrong += other.wrong


def run() -> tuple[BucketCount, float]:
    """Live every plan; return what came of it, and the seconds that it took."""
    began = time.monotonic()
    tally = BucketCount()
    pieces = [(part, one.name, share) for part in PARTS for one in SCENARIOS for share in range(SHARES)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=quiet) as pool:
        for piece in pool.map(_piece, pieces):
            tally.add(piece)
    quiet()
    with _databases() as urls:
        for url in urls:
            tally.add(_on(url))
    return tally, time.monotonic() - began


def quiet() -> None:
    """Say nothing about what goes wrong on purpose."""
    logging.disable(logging.CRITICAL)


def _piece(piece: tuple[str, str, int]) -> BucketCount:
    part, name, share = piece
    scenario, tally = BY_NAME[name], BucketCount()
    match part:
        case "single crashes":
            stops: Iterable[tuple[Stop, ...]] = [(stop,) for stop in single_crashes(scenario, extent=WHOLE)]
        case "double crashes":
            stops = double_crashes(scenario, extent=WHOLE)
        case _:
            stops = interleavings(scenario, extent=WHOLE)
    try_one = two_owners if part == "interleavings" else run_plan
    for number, one in enumerate(stops):
        if number % SHARES == share:
            tally.count(part, try_one(scenario, *one).verdict)
    run_plan_once.cache_clear()
    two_owners_once.cache_clear()
    return tally


@contextmanager
def _databases() -> Iterator[list[str]]:
    """Give the URLs of a migrated SQLite file and of a migrated PostgreSQL database."""
    with tempfile.TemporaryDirectory() as directory, a_server() as server:
        databases = Databases(server=server)
        urls = [f"sqlite:///{Path(directory) / 'checkout.db'}", databases.create("crash")]
        for url in urls:
            upgrade(url)
        yield urls
        databases.drop("crash")


def _on(url: str) -> BucketCount:
    tally = BucketCount()
    for scenario in SCENARIOS:
        if not scenario.takes_its_time:
            for stop in deaths(scenario, extent=WHOLE):
                tally.count(f"crashes on {url.partition(':')[0]}", run_plan_on(url, scenario, stop).verdict)
    return tally


def figures(tally: BucketCount, seconds: float) -> list[str]:
    """Return the figures, a line each."""
    passed = [len(boundaries(scenario)) for scenario in SCENARIOS]
    return [
        f"scenarios {len(SCENARIOS)}",
        f"boundaries {sum(passed)}",
        *(f"{part} {count}" for part, count in tally.runs.items()),
        f"lost {tally.lost}",
        f"doubled {tally.doubled}",
        f"violations {len(tally.wrong)}",
        f"seconds {seconds:.0f}",
    ]
