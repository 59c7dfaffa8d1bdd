"""What a call to a service costs this process: the gateway beside bare aiohttp, in CPU time per call.

`python -m tests.bench.calls`. The server is a process of its own, the stand-in of `sides/services.py`,
so that its work isn't counted; the sides run in turn, A B A B, with 64 calls in flight.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from app.services import Call, GatewayVerb, HttpGateway, Participant
from tests.bench.sides.services import stand_in

IN_FLIGHT = 64
CALLS = 8_000
ROUNDS = 3
BODY = {
    "order_id": "ord-1",
    "customer_id": "cus-7",
    "amount": 3998,
    "currency": "EUR",
    "payment_method": "tok_visa",
    "capture": "immediate",
}
CALL = Call.to(Participant.PAYMENT, GatewayVerb.EXECUTE, reference="0193b3c8-0000-7000-8000-000000000001")

One = Callable[[], Awaitable[None]]
Side = Callable[[str, int], AbstractAsyncContextManager[One]]


async def measured(one: One) -> tuple[float, float]:
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


@asynccontextmanager
async def bare(url: str, in_flight: int) -> AsyncIterator[One]:
    """Give a call by aiohttp alone, which sends and parses the same."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def one() -> None:
            async with session.put(f"{url}/payments/{CALL.reference}", json=BODY) as response:
                json.loads(await response.read())

        yield one


@asynccontextmanager
async def through_the_gateway(url: str, in_flight: int) -> AsyncIterator[One]:
    """Give a call as a step makes it."""
    gateway = HttpGateway(Participant.PAYMENT, url, max_connections=in_flight)

    async def one() -> None:
        await gateway.put(CALL, BODY)

    try:
        yield one
    finally:
        await gateway.aclose()


async def a_round(side: Side, url: str) -> tuple[float, float]:
    """Measure a side once."""
    async with side(url, IN_FLIGHT) as one:
        return await measured(one)


def main() -> None:
    """Print the medians of a few rounds."""
    sides = {"bare aiohttp": bare, "the gateway": through_the_gateway}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    with stand_in() as server:
        for _ in range(ROUNDS):
            for name, side in sides.items():
                found[name].append(uvloop.run(a_round(side, server.url)))
    table = Table("side", "µs of CPU per call", "calls/s", title=f"{IN_FLIGHT} in flight, {ROUNDS} rounds")
    for name, rounds in found.items():
        cpu, rate = (statistics.median(values) for values in zip(*rounds, strict=True))
        table.add_row(name, f"{cpu:.0f}", f"{rate:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
