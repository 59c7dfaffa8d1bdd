"""GET /livez and GET /readyz."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2 as httpx

from app.api import ApiSettings, AppContext
from app.api.readiness import Readiness
from app.bootstrap.http_app import create_app
from tests.unit.api.served import an_order, problem, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


async def test_a_process_that_lives_says_so_whatever_is_wrong_elsewhere() -> None:
    async with served() as api:
        api.health.broken = RuntimeError()
        answer = await api.get("/livez")
        assert (answer.status_code, answer.json()) == (200, {"alive": True})


async def test_a_process_that_can_take_work_is_ready() -> None:
    async with served() as api:
        answer = await api.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {
            "ready": True,
            "checks": {name: {"ok": True} for name in ("database", "schema", "lease", "draining")},
        }
        assert answer.headers["cache-control"] == "no-store"


async def test_one_that_cannot_says_what_is_wrong() -> None:
    async with served() as api:
        api.health.found["draining"] = "It is shutting down."
        answer = await api.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["ready"] is False
        assert answer.json()["checks"]["draining"] == {"ok": False, "detail": "It is shutting down."}


async def test_checks_that_break_or_hang_are_not_ready() -> None:
    async def hangs() -> Mapping[str, str | None]:
        await asyncio.Event().wait()
        return {}

    async with served(ApiSettings(storage_timeout_seconds=0.01, health_cache_seconds=0)) as api:
        api.health.broken = RuntimeError("postgresql://user:secret@host")
        broken = await api.get("/readyz")
        assert broken.status_code == 503
        assert "secret" not in broken.text
        api.health.checks = hangs  # type: ignore[method-assign]
        assert (await api.get("/readyz")).status_code == 503


async def test_before_its_start_the_api_lives_but_is_not_ready() -> None:
    @asynccontextmanager
    async def never() -> AsyncIterator[AppContext]:
        async with served() as api:
            yield api.service

    transport = httpx.ASGITransport(app=create_app(never))
    async with httpx.AsyncClient(transport=transport, base_url="http://checkout.test") as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        problem(await client.post("/checkout", json=an_order()), 503, "not_ready")
        problem(await client.get("/sagas"), 503, "not_ready")


async def test_however_many_ask_the_checks_are_made_once_in_a_while() -> None:
    """But one that is told to stop says so at once."""

    class Counted:
        def __init__(self) -> None:
            self.times = 0

        async def checks(self) -> Mapping[str, str | None]:
            self.times += 1
            await asyncio.sleep(0)
            return {"lease": None if self.times == 1 else "Gone."}

    health, now = Counted(), 0.0
    async with served() as api:
        service = replace(api.service, health=health)
        readiness = Readiness(seconds=1, storage_timeout=1, clock=lambda: now)
        answers = await asyncio.gather(*(readiness.answer(service) for _ in range(50)))
        assert {status for status, _ in answers} == {200}
        now = 0.9
        assert (await readiness.answer(service))[0] == 200
        assert health.times == 1
        now = 1.0
        assert (await readiness.answer(service))[0] == 503
        service.draining.set()
        await readiness.answer(service)
        assert health.times == 3
