"""The clients: each sends its order until it is answered, and looks at its saga now and then."""

from __future__ import annotations

import asyncio

from tests.proof.evidence import ApiAnswer
from tests.simulation.ingress import Ingress
from tests.simulation.scenario import Visit

SENDS = 4
PAUSE_SECONDS = 0.5


async def visit(ingress: Ingress, way: Visit, replicas: int) -> None:
    """Go a client's way."""
    await asyncio.sleep(way.at)
    answer: ApiAnswer | None = None
    for send in range(SENDS):
        at = (way.replica + send) % replicas
        answer = await ingress.post(at, way.order, key=way.key, prefer=way.prefer, patience=way.patience)
        if answer is not None and answer.status != 503:
            break
        if answer is not None and answer.saga is not None:
            break  # a service was down, and all was undone: that is its answer for good
        await asyncio.sleep(PAUSE_SECONDS)
    saga = answer.saga if answer is not None else None
    if saga is None:
        return
    for number, pause in enumerate(way.looks, start=1):
        await asyncio.sleep(pause)
        await ingress.get((way.replica + number) % replicas, saga["id"], patience=way.patience)
