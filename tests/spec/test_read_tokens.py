"""What a browser follows its checkout with: a token for one saga, reading it alone, and for a short time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr, ValidationError

from app.access.keys import ApiKey, Keys
from app.access.read_tokens import ReadTokens
from app.access.scopes import Scope
from app.settings.settings import Settings
from app.storage import open_storage
from app.storage.access.keys import SqlKeys
from tests.builders import VirtualClock, an_id
from tests.in_process import a_client, an_app
from tests.processes import an_order

SITE = "https://shop.example"


class Shop:
    """A service with the shop's key, and somebody who has none."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client
        self.key = ""
        self.bearer: dict[str, str] = {}

    @property
    def keys(self) -> Keys:
        keys: Keys = self.app.state.service.keys
        return keys

    async def a_key(self, caller: str, *scopes: Scope, **more: Any) -> tuple[ApiKey, dict[str, str]]:
        key, text = await self.keys.create(caller=caller, who=caller, scopes=scopes, **more)
        return key, {"Authorization": f"Bearer {text}"}

    async def a_saga(self, order_id: str) -> str:
        saga_id: str = (
            await self.client.post("/checkout", json=an_order(order_id), headers=self.bearer)
        ).json()["id"]
        return saga_id

    async def a_token(self, saga_id: str) -> dict[str, Any]:
        answer = await self.client.post(f"/sagas/{saga_id}/read-token", headers=self.bearer)
        assert answer.status_code == 201, answer.text
        assert answer.headers["cache-control"] == "no-store"
        body: dict[str, Any] = answer.json()
        return body


@asynccontextmanager
async def a_shop(url: str, *, keyed: bool = True, **members: Any) -> AsyncIterator[Shop]:
    settings = Settings(
        database_url=SecretStr(url), sandbox_database=":memory:", key_cache_seconds=0, **members
    )
    async with an_app(settings) as app, a_client(app) as client:
        shop = Shop(app, client)
        if keyed:
            _, shop.bearer = await shop.a_key("shop", Scope.CHECKOUT)
        yield shop


async def test_a_token_reads_its_saga_and_its_events_and_nothing_else(sqlite_url: str) -> None:
    """In the address or as a bearer; of no other saga, no list, and for no action, a further token included."""
    async with a_shop(sqlite_url) as shop:
        saga_id, other = await shop.a_saga("ord-1"), await shop.a_saga("ord-2")
        given = await shop.a_token(saga_id)
        token, as_bearer = given["token"], {"Authorization": f"Bearer {given['token']}"}
        assert (await shop.client.get(given["saga_url"])).json()["id"] == saga_id
        assert "event: end" in (await shop.client.get(given["events_url"])).text
        assert "id: 2\n" not in (await shop.client.get(given["events_url"] + "&last_event_id=2")).text
        assert (await shop.client.get(f"/sagas/{saga_id}", headers=as_bearer)).status_code == 200
        assert (await shop.client.head(given["saga_url"])).status_code == 200

        for method, path in (
            ("GET", f"/sagas/{other}"),
            ("GET", f"/sagas/{other}/events"),
            ("GET", "/sagas"),
            ("GET", "/events"),
            ("GET", "/keys"),
            ("GET", "/metrics"),
            ("GET", f"/dashboard/sagas/{saga_id}"),
            ("POST", "/checkout"),
            ("POST", f"/sagas/{saga_id}/cancel"),
            ("POST", f"/sagas/{saga_id}/read-token"),
        ):
            for query, headers in ((f"?read_token={token}", {}), ("", as_bearer)):
                answer = await shop.client.request(method, path + query, json={}, headers=headers)
                assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize(
    "wrong", ["", "rt_", "nonsense", "é", "%00", "{}&read_token={}", "{}x", "ck_zzzzzzzz_" + "A" * 43]
)
async def test_what_is_not_the_token_reads_nothing(sqlite_url: str, wrong: str) -> None:
    """Also a letter off, and the same twice; and a key has no place in an address."""
    async with a_shop(sqlite_url) as shop:
        saga_id = await shop.a_saga("ord-1")
        token = (await shop.a_token(saga_id))["token"]
        later = token.replace(token.split("_")[2], str(int(token.split("_")[2]) + 60))
        key = shop.bearer["Authorization"].removeprefix("Bearer ")
        for text in (wrong.replace("{}", token), later, key):
            assert (await shop.client.get(f"/sagas/{saga_id}?read_token={text}")).status_code == 401


async def test_who_asks_for_a_token_has_to_see_the_saga(sqlite_url: str) -> None:
    """Another caller's is as unknown as one that is not; without a key there is none to be had."""
    async with a_shop(sqlite_url) as shop:
        saga_id = await shop.a_saga("ord-1")
        _, rival = await shop.a_key("rival", Scope.CHECKOUT)
        assert (await shop.client.post(f"/sagas/{saga_id}/read-token", headers=rival)).status_code == 404
        assert (await shop.client.post(f"/sagas/{saga_id}/read-token")).status_code == 401
        assert (
            await shop.client.post(f"/sagas/{an_id()}/read-token", headers=shop.bearer)
        ).status_code == 404


async def test_a_token_ends_with_the_key_that_asked_for_it(sqlite_url: str) -> None:
    """Revoked or at its end, which the token doesn't outlast."""
    async with a_shop(sqlite_url) as shop:
        saga_id = await shop.a_saga("ord-1")
        ends = datetime.now(UTC) + timedelta(seconds=60)
        key, shop.bearer = await shop.a_key("shop-2", Scope.READ, everyone=True, expires_at=ends)
        given = await shop.a_token(saga_id)
        assert datetime.fromisoformat(given["expires_at"]) <= ends
        assert (await shop.client.get(given["saga_url"])).status_code == 200
        await shop.keys.revoke(key.id)
        assert (await shop.client.get(given["saga_url"])).status_code == 401


async def test_without_keys_none_is_needed_and_the_addresses_work_all_the_same(sqlite_url: str) -> None:
    """So that a shop's code is the same beside a service on its developer's machine."""
    async with a_shop(sqlite_url, keyed=False) as shop:
        saga_id = await shop.a_saga("ord-1")
        given = await shop.a_token(saga_id)
        assert (given["token"], given["expires_at"]) == (None, None)
        assert (await shop.client.get(given["saga_url"])).json()["id"] == saga_id
        assert "event: end" in (await shop.client.get(given["events_url"])).text
        assert (await shop.client.get(f"/sagas/{saga_id}?read_token=old")).status_code == 200


async def test_a_token_is_in_no_log_and_no_answer(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not of a good request, a refused one, or one that breaks down."""
    caplog.set_level(logging.DEBUG)
    async with a_shop(sqlite_url) as shop:
        saga_id = await shop.a_saga("ord-1")
        token = (await shop.a_token(saga_id))["token"]
        answers = [
            await shop.client.get(f"/sagas/{path}read_token={token}")
            for path in (f"{saga_id}?", f"{saga_id}/events?", f"{saga_id}?other=1&", f"{an_id()}?")
        ]
        answers.append(await shop.client.get(f"/?read_token={token}"))
        assert [answer.status_code for answer in answers] == [200, 200, 422, 401, 401]
        for answer in answers:
            assert token not in answer.text + repr(answer.headers)
        ours = [record for record in caplog.records if not record.name.startswith("httpx")]
        assert token not in "".join(f"{record.getMessage()}{record.__dict__}" for record in ours)


async def test_a_token_holds_at_every_replica_until_its_time_is_over(database_url: str) -> None:
    """And for nothing that it wasn't given for."""
    async with open_storage(database_url) as storage:
        clock = VirtualClock()
        replicas = [
            Keys(SqlKeys(storage.log), now=clock.now, new_id=an_id, cache_seconds=5.0) for _ in range(2)
        ]
        one, other = (ReadTokens(keys, now=clock.now, seconds=60.0) for keys in replicas)
        _, text = await replicas[0].create(caller="shop", who="till", scopes=[Scope.CHECKOUT])
        token = await one.issue(text, "a-saga")
        assert token is not None
        caller = await other.authenticate(token.text, "a-saga")
        assert caller is not None
        assert (caller.tenant, caller.scopes, caller.all_tenants) == ("shop", frozenset({Scope.READ}), False)
        assert await other.authenticate(token.text, "another-saga") is None
        assert await one.issue(text[:-1] + ("A" if text[-1] != "A" else "B"), "a-saga") is None
        clock.advance(59)
        assert await other.authenticate(token.text, "a-saga") is not None
        clock.advance(1)
        assert await other.authenticate(token.text, "a-saga") is None


async def test_only_named_sites_pages_may_ask_and_read_what_they_need(sqlite_url: str) -> None:
    """Never with a cookie; a preflight needs no key, and a refusal can be read."""
    asked = {"Origin": SITE, "Access-Control-Request-Method": "POST"}
    wanted = "authorization,content-type,idempotency-key,prefer,last-event-id"
    async with a_shop(sqlite_url, cors_origins=f"{SITE}, http://localhost:3000") as shop:
        preflight = await shop.client.options(
            "/checkout", headers=asked | {"Access-Control-Request-Headers": wanted}
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == SITE
        saga_id = await shop.a_saga("ord-1")
        for answer in (
            await shop.client.get((await shop.a_token(saga_id))["events_url"], headers={"Origin": SITE}),
            await shop.client.get("/sagas", headers={"Origin": SITE}),
        ):
            assert answer.headers["access-control-allow-origin"] == SITE
            assert "access-control-allow-credentials" not in answer.headers
            shown = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
            assert {"Location", "Retry-After", "ETag", "Idempotent-Replayed", "X-Request-ID"} <= shown
        for origin in ("https://evil.example", f"{SITE}.evil.example", "http://shop.example", "null"):
            answer = await shop.client.get("/livez", headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers
            assert (
                await shop.client.options("/checkout", headers=asked | {"Origin": origin})
            ).status_code == 400


async def test_unless_told_no_page_of_another_site_may_ask(sqlite_url: str) -> None:
    """The default."""
    async with a_shop(sqlite_url) as shop:
        answer = await shop.client.get("/livez", headers={"Origin": SITE})
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origins",
    ["*", "shop.example", "https://shop.example/", "https://Shop.example", "null", "https://*.shop.example"],
)
def test_origins_are_written_as_a_browser_sends_them(origins: str) -> None:
    """Or the start is refused, naming the variable."""
    with pytest.raises(ValidationError, match="CHECKOUT_CORS_ORIGINS"):
        Settings(cors_origins=origins)
