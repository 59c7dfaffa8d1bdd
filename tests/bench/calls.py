"""What a call to a service costs this process: the gateway beside bare aiohttp, in CPU time per call.

`python -m tests.bench.calls`. The server is a process of its own, so that its work isn't counted; the
sides run in turn, A B A B, with 64 calls in flight.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable

import aiohttp
import uvloop
from aiohttp import web
from rich.console import Console
from rich.table import Table

from app.services import Action, Call, HttpGateway, Service
from tests.processes import free_port

IN_FLIGHT = 64
CALLS = 8_000
ROUNDS = 3
ANSWER = {"payment_id": "p", "status": "captured", "amount": 3998, "currency": "EUR"}
BODY = {
    "order_id": "ord-1",
    "customer_id": "cus-7",
    "amount": 3998,
    "currency": "EUR",
    "payment_method": "tok_visa",
    "capture": "immediate",
}
CALL = Call.to(Service.PAYMENT, Action.EXECUTE, reference="0193b3c8-0000-7000-8000-000000000001")


def serve(port: int) -> None:
    """Answer every request with a payment."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(ANSWER, status=201)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def measured(one: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return the microseconds of CPU time per call, and the calls per second."""

    async def client(calls: int) -> None:
        for _ in range(calls):
            await one()

    async def all_of_them(calls: int) -> None:
        await asyncio.gather(*(client(calls) for _ in range(IN_FLIGHT)))

    await all_of_them(5)
    cpu, wall, each = time.process_time(), time.perf_counter(), CALLS // IN_FLIGHT
    await all_of_them(each)
    done = each * IN_FLIGHT
    return (time.process_time() - cpu) / done * 1e6, done / (time.perf_counter() - wall)


async def bare(url: str) -> tuple[float, float]:
    """Measure aiohttp alone, which sends and parses the same."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def one() -> None:
            async with session.put(f"{url}/payments/{CALL.reference}", json=BODY) as response:
                json.loads(await response.read())

        return await measured(one)


async def through_the_gateway(url: str) -> tuple[float, float]:
    """Measure a call as a step makes it."""
    gateway = HttpGateway(Service.PAYMENT, url, max_connections=IN_FLIGHT)
    try:
        return await measured(lambda: gateway.put(CALL, BODY))
    finally:
        await gateway.aclose()


async def until_it_answers(url: str) -> None:
    """Return once the server is up."""
    while True:
        try:
            async with aiohttp.ClientSession() as session, session.get(url):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)


def main() -> None:
    """Print the medians of a few rounds."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    asyncio.run(until_it_answers(url))
    sides = {"bare aiohttp": bare, "the gateway": through_the_gateway}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            found[name].append(uvloop.run(side(url)))
    server.terminate()
    table = Table("side", "µs of CPU per call", "calls/s", title=f"{IN_FLIGHT} in flight, {ROUNDS} rounds")
    for name, rounds in found.items():
        cpu, rate = (statistics.median(values) for values in zip(*rounds, strict=True))
        table.add_row(name, f"{cpu:.0f}", f"{rate:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
