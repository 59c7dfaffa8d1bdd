"""`make chaos`: a storm over two replicas on PostgreSQL, judged. 0: all kept; 1: something broke; 2: void."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.storage.migrations import upgrade
from tests.chaos.database import a_crashing_postgres
from tests.chaos.figures import Figures
from tests.chaos.plan import a_plan
from tests.chaos.storm import storm
from tests.processes import SERVICES
from tests.proof.evidence import Violation


def main() -> int:
    """Run one storm, print its figures, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--sagas", type=int, default=3000)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=3, help="of PostgreSQL")
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    console = Console()
    console.print(f"seed {given.seed}")
    plan = a_plan(
        given.seed,
        orders=given.sagas,
        clients=given.clients,
        kills=given.kills,
        stops=given.stops,
        restarts=given.restarts,
        replicas=("replica-0", "replica-1"),
        services=SERVICES,
    )
    with (
        a_crashing_postgres() as postgres,
        tempfile.TemporaryDirectory(prefix="checkout-chaos-") as directory,
    ):
        upgrade(postgres.url)
        figures = Figures(
            asyncio.run(
                storm(plan, url=postgres.url, directory=Path(directory), replicas=2, postgres=postgres)
            )
        )
    found = list(figures.violations())
    _print(console, figures, found)
    if found:
        console.print(f"The evidence is in {_dumped(figures, found)}")
        return 1
    if reasons := figures.void():
        console.print("VOID, this run proves nothing: " + "; ".join(reasons))
        return 2
    return 0


def _print(console: Console, figures: Figures, found: Sequence[Violation]) -> None:
    table = Table("chaos", "", show_header=False)
    for row in figures.rows():
        table.add_row(*row)
    table.add_row("violations", str(len(found)))
    console.print(table)
    for violation in found[:20]:
        console.print(str(violation), markup=False, highlight=False)


def _dumped(figures: Figures, found: Sequence[Violation]) -> Path:
    after = figures.after
    evidence = {
        "seed": after.plan.seed,
        "violations": [str(violation) for violation in found],
        "faults": [asdict(fault) for fault in after.plan.faults],
        "sagas": after.sagas,
        "answers": [asdict(answer) for answer in after.clients.answers],
        "records": after.records,
        "standing": after.standing,
        "logs": after.logs,
    }
    with tempfile.NamedTemporaryFile(
        "w", prefix=f"chaos-{after.plan.seed}-", suffix=".json", delete=False
    ) as file:
        json.dump(evidence, file)
    return Path(file.name)


if __name__ == "__main__":
    sys.exit(main())
