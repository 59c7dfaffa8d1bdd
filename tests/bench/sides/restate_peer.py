"""Restate doing the same: a durable service of three steps that do nothing, and real compensations.

As its documentation has it: a single node with its defaults, which sync its log; the service under hypercorn
in a process of its own; each order asked for over Restate's HTTP ingress under an idempotency key, as there is
no way without. It runs in an environment of its own: `python restate_peer.py`, without this project.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import restate  # type: ignore[import-not-found]
from clock import asked, tell  # type: ignore[import-not-found]  # beside this file, as the peer runs it

SERVER_SECONDS = 60
checkout = restate.Service("checkout")


async def pay(order_id: str) -> dict[str, str]:
    return {"id": f"pay-{order_id}"}


async def refund(payment: dict[str, str]) -> None: ...


async def reserve(order_id: str) -> dict[str, str]:
    return {"id": f"res-{order_id}"}


async def release(reservation: dict[str, str]) -> None: ...


async def ship(order_id: str, refuses: bool) -> dict[str, str]:
    if refuses:
        raise restate.TerminalError("Nothing is delivered there.")
    return {"id": f"shp-{order_id}"}


@checkout.handler()
async def place(ctx: restate.Context, order: dict[str, Any]) -> str:
    """Do all, or undo in reverse what was done."""
    order_id = order["order_id"]
    compensations: list[tuple[str, Any, dict[str, Any]]] = []
    try:
        payment = await ctx.run_typed("pay", pay, order_id=order_id)
        compensations.append(("refund", refund, {"payment": payment}))
        reservation = await ctx.run_typed("reserve", reserve, order_id=order_id)
        compensations.append(("release", release, {"reservation": reservation}))
        await ctx.run_typed("ship", ship, order_id=order_id, refuses=order["refuses"])
    except restate.TerminalError:
        for name, compensate, given in reversed(compensations):
            await ctx.run_typed(name, compensate, **given)
        return "compensated"
    return "completed"


app = restate.app(services=[checkout])


async def main() -> None:
    """Measure whole checkouts."""
    given = asked()
    refuses = given.outcome == "compensated"
    ingress, admin, node, handler = _free_ports(4)
    own = {
        "RESTATE_BIND_PORT": str(node),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }
    hypercorn = [
        sys.executable,
        "-m",
        "hypercorn",
        "--bind",
        f"127.0.0.1:{handler}",
        f"{Path(__file__).stem}:app",
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        _running([os.environ["RESTATE_SERVER"], "--base-dir", folder], own) as server,
        _running(hypercorn, {}) as service,
    ):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            uri = {"uri": f"http://127.0.0.1:{handler}"}
            await _answered(session, f"http://127.0.0.1:{admin}/deployments", uri)
            place_url = f"http://127.0.0.1:{ingress}/checkout/place"

            async def one() -> None:
                order_id = str(uuid.uuid4())
                order = {"order_id": order_id, "refuses": refuses}
                async with session.post(
                    place_url, json=order, headers={"Idempotency-Key": order_id}
                ) as answer:
                    assert await answer.json() == given.outcome, await answer.text()

            await tell(given.clients, given.seconds, one, processes=[server.pid, service.pid])


@contextlib.contextmanager
def _running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parent,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


async def _answered(session: aiohttp.ClientSession, url: str, body: dict[str, str]) -> None:
    """Register the service, once both are up."""
    until = time.monotonic() + SERVER_SECONDS
    while True:
        try:
            async with session.post(url, json=body) as answer:
                if answer.ok:
                    return
                told = await answer.text()
        except aiohttp.ClientError as error:
            told = str(error)
        if time.monotonic() > until:
            raise TimeoutError(f"Restate doesn't take the service: {told}")
        await asyncio.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


if __name__ == "__main__":
    asyncio.run(main())
