"""DBOS doing the same: a durable workflow of three steps that do nothing, and real compensations.

As its documentation has it: asynchronous steps and workflows, the workflow's id as idempotency key, its
system database on PostgreSQL; and uvloop, which this service's process has too. It runs in an environment of
its own: `python dbos_peer.py`, without this project.
"""

from __future__ import annotations

import logging
import uuid

import uvloop
from clock import asked, tell  # type: ignore[import-not-found]  # beside this file, as the peer runs it
from dbos import DBOS, SetWorkflowID  # type: ignore[import-not-found]

given = asked()
REFUSES = given.outcome == "compensated"


class Refused(Exception):
    """The carrier says no."""


@DBOS.step()
async def pay(order_id: str) -> dict[str, str]:
    return {"id": f"pay-{order_id}"}


@DBOS.step()
async def refund(payment: dict[str, str]) -> None: ...


@DBOS.step()
async def reserve(order_id: str) -> dict[str, str]:
    return {"id": f"res-{order_id}"}


@DBOS.step()
async def release(reservation: dict[str, str]) -> None: ...


@DBOS.step()
async def ship(order_id: str) -> dict[str, str]:
    if REFUSES:
        raise Refused(order_id)
    return {"id": f"shp-{order_id}"}


@DBOS.workflow()
async def checkout(order_id: str) -> str:
    """Do all, or undo in reverse what was done."""
    payment = await pay(order_id)
    reservation = await reserve(order_id)
    try:
        await ship(order_id)
    except Refused:
        await release(reservation)
        await refund(payment)
        return "compensated"
    return "completed"


async def main() -> None:
    """Measure whole workflows."""
    logging.disable(logging.WARNING)
    DBOS(
        config={
            "name": "bench",
            "system_database_url": given.url,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()

    async def one() -> None:
        order_id = str(uuid.uuid4())
        with SetWorkflowID(order_id):
            assert await checkout(order_id) == given.outcome

    await tell(given.clients, given.seconds, one)
    DBOS.destroy()


if __name__ == "__main__":
    uvloop.run(main())
