"""A plain application doing the same by hand: FastAPI, three steps that do nothing, a row for each in one group commit.

What this service costs above it is what it adds: recovery, compensation, fencing, idempotency keys, the trail's API,
the outbox, logs and metrics. `DATABASE_URL=… python plain.py --port 9000`
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI
from front import Order, serve  # type: ignore[import-not-found]  # beside this file, as it is run
from no_op import ANSWER  # type: ignore[import-not-found]
from uuid_utils import uuid7

Row = tuple[str, int, str]


class Rows:
    """Writes whatever has queued up while the last batch was written, in one transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queue: list[tuple[Row, asyncio.Future[None]]] = []
        self._more = asyncio.Event()

    async def add(self, row: Row) -> None:
        """Return once it is committed."""
        written = asyncio.get_running_loop().create_future()
        self._queue.append((row, written))
        self._more.set()
        await written

    async def write(self) -> None:
        """Write for ever."""
        while True:
            await self._more.wait()
            self._more.clear()
            batch, self._queue = self._queue, []
            ids, numbers, data = zip(*(row for row, _ in batch), strict=True)
            await self._connection.execute(
                "INSERT INTO plain SELECT * FROM unnest($1::text[], $2::int[], $3::text[])",
                ids,
                numbers,
                data,
            )
            for _, written in batch:
                written.set_result(None)


@asynccontextmanager
async def _connected(app: FastAPI) -> AsyncIterator[None]:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS plain (id text, seq int, data text, PRIMARY KEY (id, seq))"
    )
    app.state.rows = Rows(connection)
    writing = asyncio.create_task(app.state.rows.write())
    yield
    writing.cancel()
    await connection.close()


app = FastAPI(lifespan=_connected)


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Return that it serves."""
    return {"ready": True}


@app.post("/checkout", status_code=201)
async def checkout(order: Order) -> dict[str, Any]:
    """Store the order, then each step's result."""
    saga_id, rows = str(uuid7()), app.state.rows
    await rows.add((saga_id, 0, order.model_dump_json()))
    for number, step in enumerate(("payment", "inventory", "shipping"), start=1):
        await rows.add((saga_id, number, json.dumps({"id": f"{step}-{saga_id}"})))
    return {"id": saga_id, **ANSWER}


if __name__ == "__main__":
    serve("plain:app")
