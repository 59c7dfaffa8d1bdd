"""The feed and the operators' side of webhooks, through HTTP, over a whole service on SQLite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest
from pydantic import SecretStr

from app.access.keys import Keys
from app.access.scopes import Scope as May
from app.settings.settings import Settings
from tests.in_process import an_app
from tests.processes import an_order, free_port
from tests.unit.api.served import _fits_the_description, problem

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@asynccontextmanager
async def a_client(url: str, *, scopes: list[str] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    endpoint = {"name": "shop", "url": f"http://127.0.0.1:{free_port()}/hooks?token=x", "secret": SECRET}
    settings = Settings(
        database_url=SecretStr(url),
        sandbox_database=":memory:",
        webhooks=SecretStr(json.dumps([endpoint])),
        webhooks_allow_private=True,
        webhook_poll_seconds=0.02,
        webhook_retry_delays="0",
    )
    hooks = {"response": [_fits_the_description]}
    async with (
        an_app(settings) as app,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="http://checkout.test",
            event_hooks=hooks,
        ) as client,
    ):
        if scopes is not None:
            keys: Keys = app.state.service.keys
            _, text = await keys.create(caller="a", who="a", scopes=map(May, scopes))
            client.headers["Authorization"] = f"Bearer {text}"
        yield client


async def test_the_feed_is_read_page_by_page_and_waits(sqlite_url: str) -> None:
    """Each answer's `next` leads on; the last one's waits for what is to come."""
    async with a_client(sqlite_url) as client:
        empty = (await client.get("/events")).json()
        assert (empty["data"], empty["more"]) == ([], False)
        placed = [(await client.post("/checkout", json=an_order(f"ord-{n}"))).json() for n in range(3)]
        first = (await client.get("/events", params={"after": empty["next"], "limit": 2})).json()
        assert [one["data"] for one in first["data"]] == placed[:2]
        assert first["more"]
        last = (await client.get("/events", params={"after": first["next"]})).json()
        assert [one["type"] for one in last["data"]] == ["checkout.completed"]
        nothing = await client.get("/events", params={"after": last["next"]}, headers={"Prefer": "wait=1"})
        assert nothing.json() == {"data": [], "next": last["next"], "more": False}
        assert nothing.headers["Preference-Applied"] == "wait=1"
        for after in ("x", "A" * 22 + "=", last["next"][:-1] + "-", "_" * 22):
            problem(await client.get("/events", params={"after": after}), 422, "invalid_request")


async def test_operators_see_what_is_stuck_and_send_it_again(sqlite_url: str) -> None:
    """The endpoint can't be reached: its deliveries fail, and are sent again by hand."""
    async with a_client(sqlite_url) as client:
        await client.post("/checkout", json=an_order("ord-1"))
        failed: list[dict[str, object]] = []
        async with asyncio.timeout(60):
            while not failed:
                failed = (await client.get("/webhooks/deliveries", params={"status": "failed"})).json()[
                    "data"
                ]
        assert [(one["attempts"], one["endpoint"]) for one in failed] == [(2, "shop")]
        (endpoint,) = (await client.get("/webhooks")).json()["data"]
        assert (endpoint["failed"], endpoint["enabled"]) == (1, True)
        assert "token" not in endpoint["url"]
        again = await client.post(f"/webhooks/deliveries/{failed[0]['id']}/redeliver", json={})
        assert (again.status_code, again.json()["status"]) == (202, "pending")
        enabled = await client.post("/webhooks/shop/enable", json={})
        assert enabled.json()["enabled"]


@pytest.mark.parametrize(
    "path",
    ["/webhooks/deliveries/99/redeliver", "/webhooks/deliveries/x/redeliver", "/webhooks/nobody/enable"],
)
async def test_what_isnt_there_and_what_isnt_json_is_refused(path: str, sqlite_url: str) -> None:
    """A wish is an empty JSON object: no form of another site's page can send that."""
    async with a_client(sqlite_url) as client:
        problem(await client.post(path, json={}), 404, "not_found")
        problem(await client.post(path), 415, "unsupported_media_type")
        problem(await client.post(path, json={"surplus": 1}), 422, "invalid_request")
        problem(await client.post(path, json=[]), 422, "invalid_request")
        problem(await client.get("/webhooks/deliveries", params={"status": "lost"}), 422, "invalid_request")
        problem(await client.get("/webhooks/deliveries", params={"cursor": "-1"}), 422, "invalid_request")


async def test_a_caller_sees_its_own_events_and_no_webhooks(sqlite_url: str) -> None:
    """Webhooks are everyone's, so they are for operators who see everyone's."""
    async with a_client(sqlite_url, scopes=list(May)) as client:
        for method, path in (
            ("GET", "/webhooks"),
            ("GET", "/webhooks/deliveries"),
            ("POST", "/webhooks/deliveries/1/redeliver"),
            ("POST", "/webhooks/shop/enable"),
        ):
            problem(await client.request(method, path, json={}), 403, "forbidden")
        assert (await client.get("/events")).status_code == 200


async def test_an_event_says_what_blocks_the_saga_and_not_only_what_turned_it_back(sqlite_url: str) -> None:
    """As its saga said it then, also once that has ended; endpoints get the same bytes."""
    async with a_client(sqlite_url) as client:
        simulate = {"X-Simulate": "shipping.execute=rejected, payment.compensate=not_reversible"}
        placed = (await client.post("/checkout", json=an_order("ord-1"), headers=simulate)).json()
        done = {"step": "payment", "reason": "Refunded by hand."}
        wait = {"Prefer": "wait=10"}
        ended = await client.post(f"/sagas/{placed['id']}/resolve", json=done, headers=wait)
        assert ended.json()["status"] == "compensated"
        stuck, compensated = (await client.get("/events")).json()["data"]
        assert stuck["data"]["attention"] == placed["attention"]
        assert stuck["data"]["attention"]["code"] == "not_reversible"
        assert stuck["data"]["failure"]["step"] == "shipping"
        assert compensated["data"]["attention"] is None
