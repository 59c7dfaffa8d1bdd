"""`make chaos`: a storm over two replicas on PostgreSQL, judged. 0: all kept; 1: something broke; 2: void."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.storage.schema.migrations import upgrade
from tests.chaos.database.crashing_postgres import a_crashing_postgres
from tests.chaos.storm.figures import Figures
from tests.chaos.storm.plan import a_plan
from tests.chaos.storm.run import storm
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
    directory = Path(tempfile.mkdtemp(prefix=f"checkout-chaos-{given.seed}-"))
    console.print(f"seed {given.seed}; logs and books are in {directory} until all is well", soft_wrap=True)
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
    with a_crashing_postgres() as postgres:
        upgrade(postgres.url)
        after = asyncio.run(storm(plan, url=postgres.url, directory=directory, replicas=2, postgres=postgres))
    figures = Figures(after)
    found = list(figures.violations())
    _print(console, figures, found)
    if found:
        figures.write(directory / "evidence.json")
        console.print(f"Something broke; the evidence is in {directory}", soft_wrap=True)
        return 1
    shutil.rmtree(directory)
    if reasons := figures.void():
        console.print(f"VOID, this run proves nothing: {'; '.join(reasons)}", soft_wrap=True)
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


if __name__ == "__main__":
    sys.exit(main())
