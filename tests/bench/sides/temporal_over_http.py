"""Temporal over HTTP: FastAPI starts a workflow of three activities and answers with its outcome.

The server is Temporal's development server (`temporal server start-dev`) as it comes, with its database in memory; the
worker runs in FastAPI's process. The Idempotency-Key is the workflow's id. It runs in an environment of its own:
`python temporal_over_http.py --port 9000`, with `TEMPORAL_SERVER`, without this project.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import FastAPI, Header
from fastapi.responses import JSONResponse
from front import Order, serve  # type: ignore[import-not-found]  # beside this file
from temporalio import activity, workflow  # type: ignore[import-not-found]
from temporalio.client import Client  # type: ignore[import-not-found]
from temporalio.common import RetryPolicy  # type: ignore[import-not-found]
from temporalio.exceptions import ActivityError, ApplicationError  # type: ignore[import-not-found]
from temporalio.worker import UnsandboxedWorkflowRunner, Worker  # type: ignore[import-not-found]

QUEUE = "checkouts"
SERVER_SECONDS = 60
STEP = {"start_to_close_timeout": timedelta(seconds=10), "retry_policy": RetryPolicy()}


@activity.defn
async def pay(order_id: str) -> dict[str, str]:
    return {"id": f"pay-{order_id}"}


@activity.defn
async def refund(_payment: dict[str, str]) -> None: ...


@activity.defn
async def reserve(order_id: str) -> dict[str, str]:
    return {"id": f"res-{order_id}"}


@activity.defn
async def release(_reservation: dict[str, str]) -> None: ...


@activity.defn
async def ship(order_id: str, refuses: bool) -> dict[str, str]:
    if refuses:
        raise ApplicationError("Nothing is delivered there.", non_retryable=True)
    return {"id": f"shp-{order_id}"}


@workflow.defn
class Checkout:
    """Do all, or undo in reverse what was done."""

    @workflow.run
    async def run(self, order_id: str, refuses: bool) -> str:
        payment = await workflow.execute_activity(pay, order_id, **STEP)
        reservation = await workflow.execute_activity(reserve, order_id, **STEP)
        try:
            await workflow.execute_activity(ship, args=[order_id, refuses], **STEP)
        except ActivityError:
            await workflow.execute_activity(release, reservation, **STEP)
            await workflow.execute_activity(refund, payment, **STEP)
            return "compensated"
        return "completed"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _connected(address: str) -> Client:
    until = time.monotonic() + SERVER_SECONDS
    while True:
        try:
            return await Client.connect(address)
        except RuntimeError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _worker(app: FastAPI) -> AsyncIterator[None]:
    port = _free_port()
    server = subprocess.Popen(  # noqa: ASYNC220 (nothing else runs yet)
        [
            *(os.environ["TEMPORAL_SERVER"], "server", "start-dev", "--headless", "--log-level", "error"),
            *("--ip", "127.0.0.1", "--port", str(port)),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        app.state.client = client = await _connected(f"127.0.0.1:{port}")
        async with Worker(
            client,
            task_queue=QUEUE,
            workflows=[Checkout],
            activities=[pay, refund, reserve, release, ship],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            yield
    finally:
        server.terminate()
        server.wait()


app = FastAPI(lifespan=_worker)


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Return that it serves."""
    return {"ready": True}


@app.post("/checkout")
async def place(order: Order, idempotency_key: Annotated[str, Header()]) -> JSONResponse:
    """Run the workflow and answer with its outcome."""
    client: Client = app.state.client
    status = await client.execute_workflow(
        Checkout.run, args=[order.order_id, order.refuses], id=idempotency_key, task_queue=QUEUE
    )
    return JSONResponse(
        {"id": idempotency_key, "order_id": order.order_id, "status": status},
        status_code=422 if status == "compensated" else 201,
    )


if __name__ == "__main__":
    serve("temporal_over_http:app")
