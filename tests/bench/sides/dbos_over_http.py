"""DBOS over HTTP: FastAPI starts the workflow in its own process and answers with its outcome.

The Idempotency-Key is the workflow's id, as its documentation has it. It runs in an environment of its own:
`python dbos_over_http.py --port 9000`, with `DATABASE_URL`, without this project.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from dbos import DBOS, SetWorkflowID  # type: ignore[import-not-found]
from dbos_checkout import checkout, launch  # type: ignore[import-not-found]  # beside this file
from fastapi import FastAPI, Header
from fastapi.responses import JSONResponse
from front import Order, serve  # type: ignore[import-not-found]


@asynccontextmanager
async def _launched(_app: FastAPI) -> AsyncIterator[None]:
    logging.disable(logging.WARNING)
    launch(os.environ["DATABASE_URL"], executor=f"worker-{os.getpid()}")
    yield
    DBOS.destroy()


app = FastAPI(lifespan=_launched)


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Return that it serves."""
    return {"ready": True}


@app.post("/checkout")
async def place(order: Order, idempotency_key: Annotated[str, Header()]) -> JSONResponse:
    """Run the workflow and answer with its outcome."""
    with SetWorkflowID(idempotency_key):
        status = await checkout(order.order_id, order.refuses)
    return JSONResponse(
        {"id": idempotency_key, "order_id": order.order_id, "status": status},
        status_code=422 if status == "compensated" else 201,
    )


if __name__ == "__main__":
    serve("dbos_over_http:app")
