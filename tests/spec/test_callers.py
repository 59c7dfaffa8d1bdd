"""Who may do what, through HTTP, on every route that the service has."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import SecretStr

from app.access.keys import Keys
from app.access.rights import Rights
from app.access.scopes import Scope
from app.api.middleware.route_rights import RouteRights, stated_rights
from app.api.routes.checkout import place_checkout
from app.settings.settings import Settings
from tests.in_process import a_client, a_service, an_app
from tests.processes import an_order

PUBLIC = {"/livez", "/readyz", "/openapi.json", "/docs", "/problems/{name}"}


SIGNING_IN = {"/dashboard/sign-in", "/dashboard/sign-out", "/dashboard/static/{name}"}


AS_OF = re.compile(r"As of [^.<]*\.")


@dataclass(kw_only=True)
class House:
    """The service with keys: the shop's, its rival's, a reader's, an operator's, and one that was revoked."""

    app: FastAPI
    client: httpx.AsyncClient
    texts: dict[str, str]

    async def ask(
        self,
        method: str,
        path: str,
        key: str | None,
        *,
        json: Any = None,
        data: dict[str, str] | None = None,
        **headers: str,
    ) -> httpx.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            headers["Authorization"] = f"Bearer {self.texts.get(key, key)}"
        return await self.client.request(method, path, headers=headers, json=json, data=data)

    @property
    def keys(self) -> Keys:
        keys: Keys = self.app.state.service.keys
        return keys


def settings_of(url: str, **members: Any) -> Settings:
    return Settings(database_url=SecretStr(url), sandbox_database=":memory:", **members)


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    settings = settings_of(database_url)
    async with an_app(settings) as app, a_client(app) as client:
        house = House(app=app, client=client, texts={})
        for name, caller, scopes, everyone in (
            ("shop", "shop", [Scope.CHECKOUT], False),
            ("rival", "rival", [Scope.CHECKOUT, Scope.READ, Scope.OPERATE], False),
            ("reader", "shop", [Scope.READ], False),
            ("operator", "ops", [Scope.OPERATE, Scope.KEYS], True),
            ("revoked", "shop", [Scope.CHECKOUT, Scope.READ, Scope.OPERATE], True),
        ):
            key, house.texts[name] = await house.keys.create(
                caller=caller, who=name, scopes=scopes, everyone=everyone
            )
            if name == "revoked":
                await house.keys.revoke(key.id)
        yield house


def api_routes(app: FastAPI) -> Iterator[APIRoute]:
    """Yield every route."""
    for context in iter_route_contexts(app.routes):
        assert isinstance(context.original_route, APIRoute)
        yield context.original_route


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield every route's method and path."""
    for route in api_routes(app):
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, route.path_format


async def test_every_route_states_who_may_use_it(house: House) -> None:
    """A new route whose author forgot is closed to all but operators of everything, and fails here."""
    found = list(api_routes(house.app))
    assert len(found) >= 25
    assert [route.path for route in found if stated_rights(route) is None] == []
    rights = RouteRights(house.app.routes)
    for route in found:
        for method in route.methods or ():
            assert rights.find(method, _filled(route.path_format, "an-id")).rights == stated_rights(route)


async def test_what_states_nothing_is_closed(house: House) -> None:
    """No entry means closed: a route without rights, a path that is none, a method that a path doesn't have."""

    @house.app.get("/forgotten")
    async def forgotten() -> str:
        return "open"

    for method, path in (("GET", "/forgotten"), ("GET", "/nowhere"), ("PUT", "/sagas")):
        assert (await house.ask(method, path, None)).status_code == 401
        assert (await house.ask(method, path, "rival")).status_code == 403
        assert (await house.ask(method, path, "operator")).status_code in {200, 404, 405}


async def test_the_fast_path_of_a_checkout_checks_what_its_route_states(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_checkout, "__rights__", Rights(scope=Scope.KEYS))
    refused = await house.ask("POST", "/checkout", "shop", json=an_order("ord-1"))
    assert refused.status_code == 403
    assert "`keys`" in refused.json()["detail"]


async def test_no_route_but_the_public_ones_answers_without_a_good_key(house: House) -> None:
    """No key, a wrong one, a revoked one: the same words, and nothing done."""
    saga_id = (await house.ask("POST", "/checkout", "shop", json=an_order("ord-1"))).json()["id"]
    told = set()
    for (method, path), key in itertools.product(
        sorted(set(routes(house.app))), [None, "ck_zzzzzzzz_" + "A" * 43, "nonsense", "revoked"]
    ):
        answer = await house.ask(method, _filled(path, saga_id), key, json={})
        if path in PUBLIC:
            assert (
                answer.status_code == 200 if path != "/problems/{name}" else answer.status_code in {200, 404}
            )
            continue
        if path in SIGNING_IN:
            assert answer.status_code in {200, 403, 404}, (method, path)
            continue
        if key is None and (path == "/" or path.startswith("/dashboard/")):
            assert answer.status_code == 303, (method, path)
            assert answer.headers["location"].startswith("/dashboard/sign-in?next=")
            continue
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        told.add(answer.json()["detail"])
    assert len(told) == 1
    assert len((await house.ask("GET", "/sagas", "operator")).json()["data"]) == 1


async def test_another_callers_saga_is_as_unknown_as_one_that_is_not(house: House) -> None:
    """On every route with an id, in the very words, whatever the other may do with its own."""
    saga_id = (await house.ask("POST", "/checkout", "shop", json=an_order("ord-1"))).json()["id"]
    nobodys = "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55"
    tried = 0
    for method, path in sorted(set(routes(house.app))):
        if "{saga_id}" not in path:
            continue
        body = (
            {"reason": "mine now", "step": "payment"} if path.endswith("resolve") else {"reason": "mine now"}
        )
        given: dict[str, Any] = {} if method == "GET" else {"json": body}
        if path.startswith("/dashboard/") and method == "POST":
            given = {"data": {**body, "token": "", "seen": "1"}, "Sec-Fetch-Site": "same-origin"}
        theirs = await house.ask(method, _filled(path, saga_id), "rival", **given)
        none = await house.ask(method, _filled(path, nobodys), "rival", **given)
        assert theirs.status_code == none.status_code == 404, (method, path)
        told, same = (
            AS_OF.sub("", one.text.replace(one.headers["x-request-id"], "")).replace(saga_id, nobodys)
            for one in (theirs, none)
        )
        assert told == same
        tried += 1
    assert tried >= 7
    for query in ("", "?order_id=ord-1", "?customer_id=cus-7", "?status=completed"):
        assert (await house.ask("GET", f"/sagas{query}", "rival")).json()["data"] == []


async def test_its_own_readers_and_who_may_see_everything_see_it(house: House) -> None:
    """A caller is not a key: all keys of one caller see the same."""
    saga_id = (await house.ask("POST", "/checkout", "shop", json=an_order("ord-1"))).json()["id"]
    for key in ("shop", "reader", "operator"):
        assert (await house.ask("GET", f"/sagas/{saga_id}", key)).json()["id"] == saga_id
        assert [one["id"] for one in (await house.ask("GET", "/sagas", key)).json()["data"]] == [saga_id]


async def test_a_key_without_the_scope_is_refused(house: House) -> None:
    """And begins nothing."""
    answer = await house.ask("POST", "/checkout", "reader", json=an_order("ord-1"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    for method, path in (("GET", "/keys"), ("POST", "/keys")):
        for key in ("shop", "reader", "rival"):  # the rival may operate, but not on everybody's
            assert (await house.ask(method, path, key, json={})).status_code == 403
    assert (await house.ask("GET", "/sagas", "operator")).json()["data"] == []


async def test_a_key_and_an_order_belong_to_their_caller(house: House) -> None:
    """The same Idempotency-Key and the same order of two callers are two checkouts."""
    ids = [
        (await house.ask("POST", "/checkout", key, json=an_order("ord-1"), Idempotency_Key="k")).json()["id"]
        for key in ("shop", "rival", "shop")
    ]
    assert ids[0] == ids[2] != ids[1]


async def test_keys_are_made_seen_and_ended_by_api(house: House) -> None:
    """The text once, the secret never again."""
    new = {"caller": "web", "who": "web-1", "scopes": ["read"]}
    made = await house.ask("POST", "/keys", "operator", json=new)
    assert made.status_code == 201
    text = made.json()["key"]
    assert (await house.ask("GET", "/sagas", text)).status_code == 200
    listed = (await house.ask("GET", "/keys", "operator")).text
    assert made.json()["prefix"] in listed
    assert text.rpartition("_")[2] not in listed
    ended = await house.ask("POST", f"/keys/{made.json()['id']}/revoke", "operator")
    assert ended.json()["revoked_at"] is not None
    assert (await house.ask("GET", "/sagas", text)).status_code == 401


async def test_the_described_examples_make_a_services_first_keys(database_url: str) -> None:
    """In their order, on a service that is open: the first opens the page and makes the second; neither locks out."""
    settings = settings_of(database_url, key_cache_seconds=0)
    async with a_service(settings) as client:
        described = (await client.get("/openapi.json")).json()["paths"]["/keys"]["post"]["requestBody"]
        first, *others = (
            one["value"] for one in described["content"]["application/json"]["examples"].values()
        )
        for alone in others:
            refused = await client.post("/keys", json=alone)
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/scopes")
        made = await client.post("/keys", json=first)
        assert (made.status_code, made.json()["created_by"]) == (201, "local")
        bearer = {"Authorization": f"Bearer {made.json()['key']}"}
        for path in ("/keys", "/sagas", "/"):
            assert (await client.get(path, headers=bearer)).status_code == 200, path
        [shops] = [await client.post("/keys", json=other, headers=bearer) for other in others]
        assert (shops.status_code, shops.json()["created_by_key"]) == (201, made.json()["id"])
        its = {"Authorization": f"Bearer {shops.json()['key']}"}
        assert (await client.post("/checkout", json=an_order("ord-1"), headers=its)).status_code == 201


async def test_who_lacks_something_is_told_what(house: House) -> None:
    """The scope, or that it sees its own caller's sagas alone: never a scope that it has."""
    for name, scopes, everyone in (
        ("narrow", [Scope.OPERATE, Scope.KEYS], False),
        ("wide", [Scope.READ], True),
        ("old", [Scope.OPERATE], True),
    ):
        _, house.texts[name] = await house.keys.create(caller="x", who=name, scopes=scopes, everyone=everyone)
    for key, method, path, words in (
        ("narrow", "GET", "/keys", "(`everyone`)"),
        ("narrow", "GET", "/webhooks", "(`everyone`)"),
        ("wide", "GET", "/keys", "the scope `keys`"),
        ("wide", "POST", "/checkout", "the scope `checkout`"),
        ("old", "POST", "/keys", "the scope `keys`"),
        ("reader", "GET", "/webhooks", "the scope `operate`"),
    ):
        answer = await house.ask(method, path, key, json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert words in answer.json()["detail"], (key, path)


async def test_a_key_made_by_a_key_is_no_more_than_it_and_ends_with_it_where_asked(house: House) -> None:
    """Through HTTP: 422 names the member, and `cascade=true` ends both."""
    new: dict[str, Any] = {"caller": "web", "who": "web-1", "scopes": ["keys"], "everyone": True}
    beyond = await house.ask("POST", "/keys", "operator", json={**new, "scopes": ["checkout"]})
    assert (beyond.status_code, beyond.json()["errors"][0]["pointer"]) == (422, "/scopes")
    made = (await house.ask("POST", "/keys", "operator", json=new)).json()
    assert made["created_by"] == "operator"
    child = (await house.ask("POST", "/keys", made["key"], json={**new, "who": "web-2"})).json()
    await house.ask("POST", f"/keys/{made['id']}/revoke?cascade=true", "operator")
    listed = {key["id"]: key for key in (await house.ask("GET", "/keys", "operator")).json()["data"]}
    assert listed[made["id"]]["revoked_at"] is not None
    assert listed[child["id"]]["revoked_at"] is not None
    assert listed[made["created_by_key"]]["revoked_at"] is None


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"caller": ""}, "/caller"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["root"]}, "/scopes/0"),
        ({"everyone": "yes"}, "/everyone"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "soon"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-01:00"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59.999999-23:59"}, "/expires_at"),
        ({"expires_at": "2200-01-01T00:00:00Z"}, "/expires_at"),
        ({"extra": 1}, "/extra"),
    ],
)
async def test_a_bad_key_request_names_its_member(house: House, change: dict[str, Any], pointer: str) -> None:
    """And makes none."""
    new = {"caller": "web", "who": "web-1", "scopes": ["read"], **change}
    answer = await house.ask("POST", "/keys", "operator", json=new)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert len((await house.ask("GET", "/keys", "operator")).json()["data"]) == 5


async def test_a_caller_that_begins_too_many_is_told_when_to_come_back(database_url: str) -> None:
    """429 with Retry-After, and no saga."""
    settings = settings_of(database_url, rate_limit_per_second=0.01)
    async with a_service(settings) as client:
        assert (await client.post("/checkout", json=an_order("ord-1"))).status_code == 201
        answer = await client.post("/checkout", json=an_order("ord-2"))
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(answer.headers["retry-after"]) <= 100
        assert len((await client.get("/sagas")).json()["data"]) == 1


def _filled(path: str, saga_id: str) -> str:
    path = path.replace("{saga_id}", saga_id).replace("{key_id}", saga_id).replace("{name}", "not_found")
    return path.replace("{action}", "cancel").replace("{delivery_id}", "1")
