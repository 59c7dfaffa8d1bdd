"""This service, as it is started, beside its peers and its floor: the sides run in turn, round after round, in one go.

Prints medians with their spread, and with --write makes docs/benchmarks.md. A side that can't run here, or
not with so many clients, says why and is left out there. All of it takes about 45 minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tests.bench.all_sides import OUTCOMES, all_sides
from tests.bench.measuring import Absent
from tests.bench.page import Cell, Measured, left_out, page, table
from tests.postgres import Databases, a_server
from tests.processes import ROOT


def main() -> None:
    """Measure, print, and write the page where that is wanted."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--sides", nargs="+", default=[""], help="only those whose name holds one of these")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES_FSYNC", "on")
    console = Console(width=150)
    measured: Measured = {}
    absent: dict[Cell, str] = {}
    with a_server() as server, tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        sides = [
            side
            for side in all_sides(Databases(server=server), Path(folder), given.seconds)
            if any(part in side.name for part in given.sides)
        ]
        runs = [
            (side, outcome, clients)
            for _ in range(given.rounds)
            for clients in given.clients
            for outcome in OUTCOMES
            for side in sides
            if outcome in side.outcomes
        ]
        task = progress.add_task("measuring", total=len(runs))
        for side, outcome, clients in runs:
            progress.update(task, description=f"{side.name}, {clients} clients, {outcome}")
            cell = (side.name, outcome, clients)
            if cell not in absent:
                try:
                    told = side.measure(clients, outcome)
                except Absent as error:
                    absent[cell] = str(error)
                    measured.pop(cell, None)
                else:
                    if not side.on_postgres:
                        told.pop("postgres", None)
                    measured.setdefault(cell, []).append(told)
            progress.advance(task)
        origin = server.origin
    machine = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {origin}, fsync on; medians of "
        f"{given.rounds} rounds of {given.seconds:g} s, the sides in turn"
    )
    console.print(table(measured))
    for one in left_out(absent):
        console.print(f"left out: {one}")
    console.print(machine)
    if given.write:
        command = f'make bench ARGS="{" ".join(sys.argv[1:])}"'
        (ROOT / "docs" / "benchmarks.md").write_text(page(measured, absent, machine, command))


if __name__ == "__main__":
    main()
