"""The product over thousands of seeds: whatever is delayed, lost, doubled or killed, nothing is lost and nothing doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.processes import ROOT
from tests.proof.evidence import Violation
from tests.simulation import regressions
from tests.simulation.__main__ import tallied
from tests.simulation.plan import Fault, Plan, a_plan, of_json, to_json
from tests.simulation.rng import rng_for
from tests.simulation.run import Result, run
from tests.simulation.shrink import shrunk

SHARE = 200
TODAY = int(os.environ["SIMULATE_FROM"])
OF_TODAY = range(TODAY, TODAY + 50)
"""Other seeds each day; a run that failed is repeated with its `SIMULATE_FROM`."""
MANY = [
    range(TODAY + 50, TODAY + 250),
    *(range(first, first + SHARE) for first in range(1 + SHARE, 4_001, SHARE)),
]

_HASH_SEEDS = range(1, 13)
_HASHES = "from tests.simulation.run import run; print(*[run(seed).hash for seed in range(1, 13)])"


@pytest.mark.parametrize(
    "seeds",
    [OF_TODAY, *(pytest.param(seeds, marks=pytest.mark.proof) for seeds in MANY)],
    ids=lambda seeds: f"from {seeds.start}",
)
def test_every_seed_keeps_every_promise(seeds: range) -> None:
    """No seed breaks a promise; `python -m tests.simulation --seed N` prints one that does, as short as can be."""
    assert tallied(seeds).failed == {}


@pytest.mark.parametrize("hash_seed", ["1", pytest.param("2", marks=pytest.mark.proof)])
def test_the_same_seed_is_the_same_run_in_another_process(hash_seed: str) -> None:
    """One seed decides everything: neither the process nor its hash seed has a say."""
    here = [run(seed).hash for seed in _HASH_SEEDS]
    assert len(set(here)) == len(here)
    there = subprocess.run(
        [sys.executable, "-c", _HASHES],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert there.split() == here


def test_what_failed_once_fails_no_more() -> None:
    """Every plan that ever broke a promise is replayed."""
    replayed = {name: run(seed, plan).violations for name, seed, plan in regressions.kept()}
    assert replayed
    assert {name for name, violations in replayed.items() if violations} == set()


def test_a_plan_is_data() -> None:
    """A plan comes back from JSON as it was, so that it can be kept."""
    plan = a_plan(rng_for(1, "plan"), replicas=3, night=True)
    assert plan
    assert of_json(json.loads(to_json(plan))) == plan


def test_a_failing_plan_is_cut_down_to_what_it_takes() -> None:
    """Shrinking leaves exactly the faults without which the run would be right."""
    needed = {Fault(kind="kill", at="replica-0", n=5), Fault(kind="freeze", at="replica-1", n=7)}
    plan = tuple(Fault(kind="slow", at="payment.put", n=n) for n in range(1, 12)) + tuple(
        sorted(needed, key=str)
    )
    right = run(1, ())

    def play(tried: Plan) -> Result:
        wrong = [Violation("one_charge", "a saga", "charged twice")] if needed <= set(tried) else []
        return replace(right, plan=tried, violations=wrong)

    assert set(shrunk(play(plan), play).plan) == needed
