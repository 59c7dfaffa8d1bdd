"""The checkout for DBOS: a durable workflow of three steps that do nothing, and real compensations."""

from __future__ import annotations

from dbos import DBOS  # type: ignore[import-not-found]  # a peer's environment has it


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
async def ship(order_id: str, refuses: bool) -> dict[str, str]:
    if refuses:
        raise Refused(order_id)
    return {"id": f"shp-{order_id}"}


@DBOS.workflow()
async def checkout(order_id: str, refuses: bool) -> str:
    """Do all, or undo in reverse what was done."""
    payment = await pay(order_id)
    reservation = await reserve(order_id)
    try:
        await ship(order_id, refuses)
    except Refused:
        await release(reservation)
        await refund(payment)
        return "compensated"
    return "completed"


def launch(database_url: str, executor: str = "local") -> None:
    """Start DBOS on this database, without its admin server and quiet."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": database_url,
            "run_admin_server": False,
            "log_level": "ERROR",
            "executor_id": executor,
        }
    )
    DBOS.launch()
