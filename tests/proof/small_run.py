"""A small run of the real service with its sandbox in memory, and the evidence that it leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2 as httpx
from pydantic import SecretStr

from app.bootstrap.http_app import create_app
from app.bootstrap.limits import api_settings
from app.bootstrap.service import open_service
from app.services import Gateway, Participant, Sandbox, SandboxGateway
from app.settings.settings import Settings
from tests.processes import ADDRESS, an_order
from tests.proof.evidence import ApiAnswer, Evidence, lines_of, standing_of

FAR = {"shipping_address": {**ADDRESS, "country": "XX"}}
ORDERS: dict[str, tuple[dict[str, Any], str]] = {
    "fine": ({}, ""),
    "many": ({"items": [{"sku": sku, "quantity": 3, "unit_price": 5} for sku in ("A", "B", "A")]}, ""),
    "free": ({"items": [{"sku": "GIFT", "quantity": 1, "unit_price": 0}]}, ""),
    "lost-answer": ({}, "payment.execute=timeout_after_effect:1, inventory.execute=late_effect:1"),
    "declined": ({"payment_method": "tok_declined"}, ""),
    "sold-out": ({"items": [{"sku": "OUT-OF-STOCK-1", "quantity": 1, "unit_price": 7}]}, ""),
    "far": (FAR, "inventory.compensate=timeout_after_effect:1"),
    "unknown": ({}, "shipping.execute=timeout_after_effect, payment.compensate=unavailable:2"),
    "never-came": ({}, "shipping.execute=timeout_before_effect"),
    "late": ({}, "payment.execute=late_effect"),
    "down": ({}, "inventory.execute=unavailable"),
    "stuck": (FAR, "inventory.compensate=not_reversible"),
    "retried": (FAR, "payment.compensate=not_reversible:1"),
    "settled": (FAR, "payment.compensate=not_reversible"),
}
"""The orders, by id: what is special about each, and the trouble it meets."""


class _Caller:
    """Asks the service, and keeps every answer."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.answers: list[ApiAnswer] = []
        self._client = client

    async def post(self, order: dict[str, Any], key: str, **headers: str) -> dict[str, Any]:
        named = {"Idempotency-Key": key} | headers
        response = await self._client.post("/checkout", json=order, headers=named)
        return self._kept(response, idempotency_key=key, order=order)

    async def act(self, saga_id: str, action: str, **members: str) -> dict[str, Any]:
        body = {"reason": "The customer called.", **members}
        return self._kept(await self._client.post(f"/sagas/{saga_id}/{action}", json=body))

    async def get(self, path: str, **headers: str) -> dict[str, Any]:
        return self._kept(await self._client.get(path, headers=headers))

    def _kept(self, response: httpx.Response, **told: Any) -> dict[str, Any]:
        document: dict[str, Any] = response.json()
        request = response.request
        self.answers.append(
            ApiAnswer(
                method=request.method,
                path=request.url.path,
                status=response.status_code,
                document=document,
                **told,
            )
        )
        return document


@asynccontextmanager
async def _serving(database: Path, sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def to_the_sandbox(_settings: Settings, **_: object) -> AsyncIterator[dict[Participant, Gateway]]:
        yield {service: SandboxGateway(sandbox, service) for service in Participant}

    settings = Settings(
        database_url=SecretStr(f"sqlite:///{database}"), retry_base_seconds=0.001, retry_cap_seconds=0.002
    )
    app = create_app(lambda: open_service(settings, gateways=to_the_sandbox), api_settings(settings))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://checkout") as client,
    ):
        yield client


async def a_small_run(database: Path) -> Evidence:
    """Place every order, two of them again, look at all that was made, and return the evidence."""
    sandbox = Sandbox(latency_seconds=0.001, late_seconds=0.02)
    async with _serving(database, sandbox) as client:
        caller = _Caller(client)
        for order_id, (members, trouble) in ORDERS.items():
            simulate = {"X-Simulate": trouble} if trouble else {}
            order = an_order(order_id, **members)
            begun = await caller.post(order, f"key-{order_id}", Prefer="respond-async", **simulate)
            await caller.get(f"/sagas/{begun['id']}")
            await caller.get(f"/sagas/{begun['id']}", Prefer="wait=20")
            await caller.post(order, f"key-{order_id}", **simulate)
            if order_id == "retried":
                await caller.act(begun["id"], "retry")
            if order_id == "settled":
                await caller.act(begun["id"], "retry")
                await caller.act(begun["id"], "resolve", step="payment", reference="bank transfer 4711")
        await caller.post(an_order("fine"), "another-key")  # taken already
        await caller.post(an_order("far"), "key-far-again")  # free again: to another address
        for saga in (await caller.get("/sagas"))["data"]:
            await caller.get(f"/sagas/{saga['id']}")
        await sandbox.settled()
    records = [asdict(record) for record in await sandbox.ledger.records()]
    states = [asdict(states) for states in await sandbox.ledger.states()]
    await sandbox.aclose()
    return Evidence(answers=caller.answers, lines=lines_of(records), standing=standing_of(states), deaths=0)
