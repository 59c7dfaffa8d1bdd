"""The first seeds, the same in every run: they keep every promise, and what the faults are for happens in them.

The others are in `test_simulation`.
"""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import Totals, tallied
from tests.simulation.plan import KINDS
from tests.simulation.run import run

SEEDS = range(1, 201)


@pytest.fixture(scope="module")
def tally() -> Totals:
    """Run them once."""
    return tallied(SEEDS)


def test_they_keep_every_promise(tally: Totals) -> None:
    """`python -m tests.simulation --seed N` prints one that doesn't, as short as can be."""
    assert tally.failed == {}


def test_every_kind_of_fault_did_strike(tally: Totals) -> None:
    """A run whose faults did not fire would prove nothing: each kind struck more than once."""
    assert [kind for kind in KINDS if tally.fired[kind] < 2] == []


def test_what_the_faults_are_for_did_happen(tally: Totals) -> None:
    """Processes died with sagas in hand, leases lapsed, sagas were taken over, and sagas ended either way."""
    assert {
        name for name in ("kill", "freeze", "stop", "lapse", "takeovers") if tally.counts[name] < 20
    } == set()
    wanted = {"completed", "compensated", "running"}
    for seed in range(1, 41):
        wanted -= {answer.saga["status"] for answer in run(seed).evidence.answers if answer.saga is not None}
        if not wanted:
            return
    assert wanted == set()
