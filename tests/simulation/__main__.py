"""Run many seeds, or one: `python -m tests.simulation --seeds 100000 --jobs 2`, `python -m tests.simulation --seed 2565`.

A seed that fails is run again with ever fewer faults, and printed with its shortest plan; with
`--keep` it becomes a regression, which `make test` replays.
"""

# ruff: noqa: T201 (a program that prints)

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tests.proof.evidence import Violation
from tests.simulation import regressions
from tests.simulation.plan import KINDS, Plan, to_json
from tests.simulation.run import Result, run
from tests.simulation.shrink import shrunk

CHUNK = 250
PROGRESS_SECONDS = 10.0
LOST = frozenset({"acknowledged_is_kept", "completed_stands", "finished_in_time"})
DOUBLED = frozenset({"one_charge", "compensated_leaves_nothing", "nobody_elses"})


@dataclass
class Totals:
    """The figures of many runs."""

    seeds: int = 0
    sagas: int = 0
    requests: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[Violation]] = field(default_factory=dict)

    def note(self, result: Result) -> None:
        """Count a run."""
        self.seeds += 1
        self.sagas += result.sagas
        self.requests += sum(line.phase == "arrived" for line in result.evidence.lines)
        self.fired.update(fault.kind for fault in result.fired)
        self.counts.update({name: n for name, n in result.counts.items() if " " not in name})
        if result.violations:
            self.failed[result.seed] = result.violations

    def add(self, other: Totals) -> None:
        """Count another's runs as well."""
        self.seeds += other.seeds
        self.sagas += other.sagas
        self.requests += other.requests
        self.fired.update(other.fired)
        self.counts.update(other.counts)
        self.failed.update(other.failed)

    def sagas_with(self, invariants: frozenset[str]) -> int:
        """Return how many sagas broke one of these promises."""
        return len(
            {
                (seed, violation.about)
                for seed, violations in self.failed.items()
                for violation in violations
                if violation.invariant in invariants
            }
        )


def tallied(seeds: Iterable[int]) -> Totals:
    """Run seeds, one after the other."""
    gc.freeze()  # what was imported stays
    tally = Totals()
    for seed in seeds:
        tally.note(run(seed))
    return tally


def main() -> int:
    """Run what the command line says; return 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to run")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes share the work")
    parser.add_argument("--seed", type=int, help="run this one seed alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print all that happened")
    parser.add_argument("--keep", action="store_true", help="keep what fails as a regression")
    asked = parser.parse_args()
    if asked.seed is not None:
        result = run(asked.seed)
        if asked.trace:
            print("\n".join(result.trace))
        print(f"seed {asked.seed}: {result.sagas} sagas, {len(result.fired)} faults, trace {result.hash}")
        return _told(result, keep=asked.keep) if result.violations else 0
    tally, seconds = _all(range(asked.first, asked.first + asked.seeds), asked.jobs)
    _print(tally, seconds)
    for seed in list(tally.failed)[:5]:
        _told(run(seed), keep=asked.keep)
    return 1 if tally.failed else 0


def _all(seeds: range, jobs: int) -> tuple[Totals, float]:
    begun = told = time.perf_counter()
    tally = Totals()
    chunks = [range(n, min(n + CHUNK, seeds.stop)) for n in range(seeds.start, seeds.stop, CHUNK)]
    for part in _parts(chunks, jobs):
        tally.add(part)
        for seed, violations in part.failed.items():
            print(f"seed {seed}: {violations[0]}", file=sys.stderr, flush=True)
        now = time.perf_counter()
        if now - told > PROGRESS_SECONDS and tally.seeds < len(seeds):
            told = now
            pace = tally.seeds / (now - begun) * 60
            print(
                f"{tally.seeds:,} of {len(seeds):,} seeds, {len(tally.failed)} failed, {pace:,.0f} a minute",
                file=sys.stderr,
                flush=True,
            )
    return tally, time.perf_counter() - begun


def _parts(chunks: list[range], jobs: int) -> Iterator[Totals]:
    if jobs == 1:
        yield from map(tallied, chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(tallied, chunks)


def _print(tally: Totals, seconds: float) -> None:
    counts = tally.counts
    unknown = sum(tally.fired[kind] for kind in ("database_lost_answer", "database_late"))
    rows = [
        ("seeds", tally.seeds),
        ("seeds a minute", round(tally.seeds / seconds * 60)),
        ("sagas", tally.sagas),
        ("requests to services", tally.requests),
        ("faults that fired", sum(tally.fired.values())),
        ("kills", counts["kill"] + counts["night"]),
        ("freezes", counts["freeze"]),
        ("orderly stops", counts["stop"]),
        ("leases that lapsed", counts["lapse"]),
        ("takeovers", counts["takeovers"]),
        ("answers of the database lost", unknown),
        ("seeds that failed", len(tally.failed)),
        ("lost", tally.sagas_with(LOST)),
        ("doubled", tally.sagas_with(DOUBLED)),
    ]
    for name, figure in rows:
        print(f"{name:<30}{figure:>12,}")
    print("faults by kind: " + ", ".join(f"{kind} {tally.fired[kind]:,}" for kind in KINDS))


def _told(result: Result, *, keep: bool) -> int:
    """Print a failing run with its shortest plan; return 1."""
    short = shrunk(result, partial(_again, result.seed))
    print(f"\nseed {result.seed} fails; its shortest plan:\n{to_json(short.plan)}")
    for violation in short.violations:
        print(f"  {violation}")
    if keep:
        print(f"kept as {regressions.keep(short)}")
    return 1


def _again(seed: int, plan: Plan) -> Result:
    return run(seed, plan)


if __name__ == "__main__":
    sys.exit(main())
