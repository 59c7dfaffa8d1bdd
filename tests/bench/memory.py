"""How much memory the sandbox's books take, however many sagas: `python -m tests.bench.memory`.

Runs the checkout's three steps over a sandbox in memory, and prints what the process has after each tenth.
"""

from __future__ import annotations

import argparse
import gc
import os
from functools import partial

import uvloop
from rich.console import Console
from rich.table import Table

from app.sandbox import Ledger, Sandbox, SandboxGateway
from tests.bench.resident import resident
from tests.builders import an_id, checkout_steps
from tests.processes import an_order


async def main(sagas: int, remembered: int) -> None:
    """Run so many sagas, one after the other."""
    sandbox = Sandbox(Ledger(remembered_sagas=remembered))
    steps = checkout_steps(partial(SandboxGateway, sandbox))
    table = Table("sagas", "MiB", title=f"{remembered:,} finished sagas are remembered")
    table.add_row("0", f"{resident(os.getpid()):.0f}")
    for number in range(1, sagas + 1):
        context = {**an_order(f"order-{number}"), "amount": 3998, "saga_id": an_id(), "metadata": {}}
        for step in steps:
            context[step.name] = await step.execute(context)
        if number % max(1, sagas // 10) == 0:
            gc.collect()
            table.add_row(f"{number:,}", f"{resident(os.getpid()):.0f}")
    await sandbox.aclose()
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=100_000)
    parser.add_argument("--remembered", type=int, default=10_000)
    given = parser.parse_args()
    uvloop.run(main(given.sagas, given.remembered))
