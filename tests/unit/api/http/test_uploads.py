"""Bodies on their way: they take nobody's place, and the oldest goes first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2 as httpx

from app.api import ApiSettings
from tests.unit.api.served import Served, an_order, problem, served

HEADERS = {"Content-Type": "application/json"}


def stalled(api: Served, release: asyncio.Event) -> asyncio.Task[httpx.Response]:
    """Begin a checkout whose body comes whole once it is released."""

    async def body() -> AsyncIterator[bytes]:
        whole = json.dumps(an_order()).encode()
        yield whole[:10]
        await release.wait()
        yield whole[10:]

    return asyncio.create_task(api.client.post("/checkout", content=body(), headers=HEADERS))


async def until_open(api: Served, uploads: int) -> None:
    for _ in range(10_000):
        if api.app.state.uploads.open == uploads:
            return
        await asyncio.sleep(0)
    raise AssertionError(api.app.state.uploads.open)


async def test_bodies_that_trickle_take_no_checkouts_place() -> None:
    """Ten times as many as there are places for checkouts."""
    async with served(ApiSettings(max_in_flight=1)) as api:
        release = asyncio.Event()
        slow = [stalled(api, release) for _ in range(10)]
        await until_open(api, 10)
        assert (await api.post()).status_code == 201
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_one_more_than_there_may_be_ends_the_oldest() -> None:
    """Who sends a body and doesn't merely hold one open is done before."""
    async with served(ApiSettings(max_uploads=2)) as api:
        release = asyncio.Event()
        first = stalled(api, release)
        await until_open(api, 1)
        second = stalled(api, release)
        await until_open(api, 2)
        assert (await api.post()).status_code == 201
        problem(await first, 408, "request_timeout")
        assert api.app.state.uploads.open == 1
        release.set()
        assert (await second).status_code == 409  # the order of the one above
        assert api.app.state.uploads.open == 0


async def test_a_checkout_whose_body_came_when_the_house_was_full_is_refused() -> None:
    """Before and behind its body."""
    async with served(ApiSettings(max_in_flight=1)) as api:
        running = 0
        api.app.state.service = replace(api.service, in_flight=lambda: running)
        release = asyncio.Event()
        slow = stalled(api, release)
        await until_open(api, 1)
        running = 1
        release.set()
        problem(await slow, 503, "over_capacity")
