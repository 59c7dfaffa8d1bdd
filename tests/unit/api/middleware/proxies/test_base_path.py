"""Served under a path, however it is told: every route answers, and every link leads back in."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.access.keys import Keys
from app.access.scopes import Scope
from app.api.middleware.proxies.base_path import OWN, reached_under
from app.api.middleware.proxies.forwarded import forwarded_prefix
from app.bootstrap.http_app import create_app
from app.bootstrap.service import open_service
from app.settings.settings import Settings
from tests.in_process import an_app
from tests.processes import ROOT, an_order
from tests.unit.dashboard.test_page import HERE, STUCK, field_of

Way = dict[str, Any]
PROXY = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Prefix": "/shop"}
WAYS: dict[str, Way] = {
    "root path, stripped": {"root_path": "/shop", "stripped": True},
    "root path, kept": {"root_path": "/shop"},
    "root path with a slash at its end": {"root_path": "/shop/", "stripped": True},
    "header, stripped": {"headers": PROXY, "stripped": True},
    "header, kept": {"headers": PROXY},
    "header with a slash at its end": {"headers": PROXY | {"X-Forwarded-Prefix": "/shop/"}, "stripped": True},
    "both, stripped": {"root_path": "/shop", "headers": PROXY, "stripped": True},
    "both, kept": {"root_path": "/shop", "headers": PROXY},
}


class Shop:
    """A client of a service that is reached under `/shop`, and asks for what a browser would: whole paths."""

    def __init__(
        self, app: FastAPI, *, root_path: str = "", stripped: bool = False, headers: Any = ()
    ) -> None:
        async def as_uvicorn_calls(scope: Any, receive: Any, send: Any) -> None:
            path = scope["path"].removeprefix("/shop") or "/" if stripped else scope["path"]
            await app({**scope, "root_path": root_path, "path": root_path + path}, receive, send)

        transport = httpx.ASGITransport(as_uvicorn_calls, client=("203.0.113.9", 0))
        self.app = app
        self.client = httpx.AsyncClient(
            transport=transport, base_url="http://shop.example", headers=dict(headers)
        )

    async def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Send a request to a path as it was linked to; fail where that isn't under the service's own."""
        assert path == "/shop" or path.startswith(("/shop/", "/shop?")), path
        return await self.client.request(method, path, **given)


@asynccontextmanager
async def a_shop(url: str, *, keyed: bool = False, **way: Any) -> AsyncIterator[Shop]:
    settings = Settings(
        database_url=SecretStr(url),
        sandbox_database=":memory:",
        retry_base_seconds=0.01,
        retry_cap_seconds=0.02,
        allow_unauthenticated=True,
    )
    async with an_app(settings) as app:
        shop = Shop(app, **way)
        if keyed:
            keys: Keys = app.state.service.keys
            _, shop.client.headers["X-Key"] = await keys.create(
                caller="ops", who="ada", scopes=Scope, everyone=True
            )
        async with shop.client:
            yield shop


def links(text: str) -> set[str]:
    """Return every path that a page leads to, sends a form to, or loads."""
    return set(re.findall(r'(?:href|src|action|data-stream|data-url)="(/[^"#]*)"', text))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_the_api_is_served_under_a_path(sqlite_url: str, way: Way) -> None:
    """Location, saga_url, instance and a problem's type lead to what they name."""
    async with a_shop(sqlite_url, **way) as shop:
        for path in ("livez", "readyz", "metrics", "sagas", "events", "webhooks", "keys"):
            assert (await shop.ask("GET", f"/shop/{path}")).status_code == 200, path
        made = await shop.ask("POST", "/shop/checkout", json=an_order("ord-1"))
        assert made.status_code == 201
        assert (await shop.ask("GET", made.headers["location"])).json() == made.json()
        assert (await shop.ask("GET", made.headers["location"] + "/events")).status_code == 200

        again = await shop.ask("POST", "/shop/checkout", json=an_order("ord-1"))
        assert again.json()["saga_url"] == again.headers["location"] == made.headers["location"]
        assert (await shop.ask("GET", again.json()["type"])).status_code == 200

        failed = await shop.ask(
            "POST", "/shop/checkout", json=an_order("ord-2", payment_method="tok_declined")
        )
        assert failed.status_code == 402
        assert (await shop.ask("GET", failed.json()["instance"])).json() == failed.json()["saga"]
        assert (await shop.ask("GET", failed.json()["type"])).status_code == 200
        stuck = await shop.ask(
            "POST", "/shop/checkout", json=an_order("ord-3"), headers={"X-Simulate": STUCK}
        )
        help_page = stuck.headers["link"].partition(">")[0].removeprefix("<")
        assert help_page == "/shop/problems/needs_attention"
        assert (await shop.ask("GET", help_page)).status_code == 200
        assert (await shop.ask("GET", "/shop/nothing")).json()["type"] == "/shop/problems/not_found"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_the_page_is_served_under_a_path(sqlite_url: str, way: Way) -> None:
    """Each link, form, stream, script and picture of it; a redirect, and what is asked for after signing in."""
    async with a_shop(sqlite_url, keyed=True, **way) as shop:
        key = shop.client.headers.pop("X-Key")
        bearer = {"Authorization": f"Bearer {key}"}
        order, simulate = an_order("ord-stuck"), {"X-Simulate": STUCK}
        saga = (await shop.ask("POST", "/shop/checkout", json=order, headers=bearer | simulate)).json()

        wanted = f"/shop/dashboard/sagas/{saga['id']}"
        asked = await shop.ask("GET", wanted)
        sign_in = await shop.ask("GET", asked.headers["location"])
        form = {"key": key, "token": "", "next": field_of(sign_in, "next")}
        came = await shop.ask("POST", "/shop/dashboard/sign-in", data=form, headers=HERE)
        assert (came.status_code, came.headers["location"]) == (303, wanted)
        cookie = came.headers["set-cookie"]
        assert "Path=/shop;" in cookie

        seen = set()
        for path in ("/shop/", wanted, "/shop/docs", "/shop/dashboard/sign-in"):
            answer = await shop.ask("GET", path)
            assert answer.status_code == 200, path
            seen |= links(answer.text)
        for link in sorted(seen):
            if "/live" in link or "/events?" in link:  # a stream, which does not end
                assert link.startswith("/shop/")
                continue
            assert (await shop.ask("GET", link)).status_code in {200, 404, 405}, link
            assert link == urlsplit(link).path or "?" in link
        assert len(seen) > 12

        page = await shop.ask("GET", wanted)
        assert f"curl http://shop.example/shop/sagas/{saga['id']}" in page.text
        form = {"token": field_of(page, "token"), "seen": field_of(page, "seen"), "reason": "because"}
        acted = await shop.ask("POST", f"{wanted}/retry", data=form, headers=HERE)
        assert acted.headers["location"] == f"{wanted}?done=retry"
        left = await shop.ask("POST", "/shop/dashboard/sign-out", data={"token": form["token"]}, headers=HERE)
        assert left.headers["location"] == "/shop/dashboard/sign-in"
        assert "Path=/shop;" in left.headers["set-cookie"]
        assert not shop.client.cookies


@cache
def _described_without_a_path() -> dict[str, Any]:
    return create_app(lambda: open_service(Settings())).openapi()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_the_description_says_where_it_is_served(sqlite_url: str, way: Way) -> None:
    """As its server; and a problem's type is one that it lists."""
    async with a_shop(sqlite_url, **way) as shop:
        served = (await shop.ask("GET", "/shop/openapi.json")).json()
        assert [server["url"] for server in served["servers"]] == ["/shop"]
        assert "/checkout" in served["paths"]
        problem = (await shop.ask("GET", "/shop/sagas/none")).json()
        assert problem["type"] in served["components"]["schemas"]["Problem"]["properties"]["type"]["examples"]
        assert shop.app.openapi() == _described_without_a_path()


async def test_the_description_is_written_once_however_many_base_paths_are_asked_for(sqlite_url: str) -> None:
    """A client may send the proxy's header too, with another path each time."""
    async with a_shop(sqlite_url) as shop:
        app, written = shop.app, []
        write = app.openapi

        def counted() -> dict[str, Any]:
            written.append(1)
            return write()

        app.openapi = counted  # type: ignore[method-assign]
        for n in range(5):
            answer = await shop.client.get("/openapi.json", headers={"X-Forwarded-Prefix": f"/p{n}"})
            with reached_under(f"/p{n}"):
                assert answer.json() == json.loads(json.dumps(write()))
        assert len(written) == 1


@pytest.mark.parametrize("own", sorted(OWN))
async def test_a_base_path_like_one_of_the_services_own_has_to_be_stripped(sqlite_url: str, own: str) -> None:
    """Else nobody could tell `/checkout` under `/checkout` from the page there."""
    async with a_shop(sqlite_url, root_path=f"/{own}") as shop:
        answer = await shop.client.post("/checkout", json=an_order(f"ord-{own}"))
        assert answer.status_code == 201
        assert answer.headers["location"].startswith(f"/{own}/sagas/")


async def test_the_services_own_paths_are_known(sqlite_url: str) -> None:
    """All that a route begins with."""
    async with a_shop(sqlite_url) as shop:
        found = {
            route.path.split("/")[1]
            for top in shop.app.routes
            for route in getattr(getattr(top, "original_router", None), "routes", [top])
        }
        assert found - {""} == OWN


@pytest.mark.parametrize(
    ("client", "headers", "prefix"),
    [
        (("203.0.113.9", 0), {"x-forwarded-for": "203.0.113.9"}, "/shop"),  # uvicorn trusts the peer
        (("203.0.113.9", 50_000), {"x-forwarded-for": "203.0.113.9"}, None),  # it doesn't
        (("203.0.113.9", 50_000), {}, None),
        (("127.0.0.1", 50_000), {}, "/shop"),
        (
            ("127.0.0.1", 50_000),
            {"x-forwarded-for": "203.0.113.9"},
            None,
        ),  # --forwarded-allow-ips leaves it out
        (None, {}, "/shop"),  # a socket file
    ],
)
def test_a_prefix_counts_from_a_trusted_proxy_alone(
    client: tuple[str, int] | None, headers: dict[str, str], prefix: str | None
) -> None:
    """Which is whom uvicorn trusts, or this machine."""
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": client, "headers": [*given, (b"x-forwarded-prefix", b"/shop")]}
    assert forwarded_prefix(scope) == prefix


@pytest.mark.parametrize(
    "value",
    [
        *("", "/", "shop", "//evil.example", "/\\evil.example", "/a//b", "/a/../b", "/..", "/.", "/a b"),
        *('/"><script>', "/%2e%2e", "/é", "/a,/b", "/a\r\nX: y", "https://evil.example", "/" + "a" * 200),
    ],
)
def test_a_prefix_that_is_no_plain_path_is_none(value: str) -> None:
    """It stands in links, and in a header."""
    header = (b"x-forwarded-prefix", value.encode("latin-1"))
    assert forwarded_prefix({"type": "http", "client": None, "headers": [header]}) is None
    assert forwarded_prefix({"type": "http", "client": None, "headers": [(header[0], b"/a")] * 2}) is None


def test_no_template_and_no_redirect_writes_a_path_by_itself() -> None:
    """Each goes through `link`, or the next page would lead out of the prefix."""
    rooms = (ROOT / "app" / "api", ROOT / "app" / "dashboard")
    files = sorted(file for room in rooms for file in room.rglob("*"))
    assert any(file.suffix == ".html" for file in files)
    for file in files:
        if file.suffix == ".html":
            bare = re.findall(r'(?:href|src|action|data-\w+)="/[^"]*"', file.read_text())
        elif file.suffix == ".py":
            bare = re.findall(
                r'(?:RedirectResponse\(|"[Ll]ocation": |_url=)f?"/[^"]*"|</[a-z]+/\\{', file.read_text()
            )
        else:
            continue
        assert bare == [], file
