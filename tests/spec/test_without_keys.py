"""A service without keys serves this machine alone, and nobody that comes through a proxy."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest
from pydantic import SecretStr

from app.settings.settings import Settings
from tests.in_process import a_service, an_app
from tests.processes import an_order


@pytest.mark.parametrize(
    ("server", "allowed", "status"),
    [("10.0.0.7", False, 403), ("10.0.0.7", True, 200), ("127.0.0.1", False, 200), ("::1", False, 200)],
)
async def test_without_keys_only_loopback_is_served(
    database_url: str, server: str, allowed: bool, status: int
) -> None:
    """Unless the operator says that something else controls access."""
    settings = Settings(
        database_url=SecretStr(database_url), sandbox_database=":memory:", allow_unauthenticated=allowed
    )
    host = f"[{server}]" if ":" in server else server
    async with a_service(settings, f"http://{host}") as client:
        answer = await client.get("/sagas")
        assert answer.status_code == status
        assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "localhost"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "::1"},
        {"Via": "1.1 gate"},
        {"CF-Connecting-IP": "203.0.113.9"},
    ],
)
async def test_without_keys_what_comes_through_a_proxy_is_somebody_elses(
    database_url: str, header: dict[str, str]
) -> None:
    """Whatever the proxy says of where it came from; it makes no key, checks nothing out, and sees nothing."""
    settings = Settings(database_url=SecretStr(database_url), sandbox_database=":memory:")
    async with a_service(settings) as client:
        new = {"caller": "me", "who": "me", "scopes": ["operate"], "everyone": True}
        for method, path, body in (
            ("POST", "/keys", new),
            ("POST", "/checkout", an_order("ord-1")),
            ("GET", "/sagas", None),
            ("GET", "/", None),
        ):
            answer = await client.request(method, path, json=body, headers=header)
            assert (answer.status_code, answer.json()["code"]) == (403, "keys_required"), path
        assert (await client.get("/livez", headers=header)).status_code == 200
        assert (await client.get("/sagas")).json()["data"] == []


async def test_without_keys_a_client_that_uvicorn_puts_in_a_proxys_place_is_somebody_elses(
    database_url: str,
) -> None:
    """And what speaks HTTP/1.0, as nginx does to what it stands before, unless told to."""
    settings = Settings(database_url=SecretStr(database_url), sandbox_database=":memory:")
    async with an_app(settings) as app:
        far = httpx.ASGITransport(app, client=("203.0.113.9", 0))

        async def older(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "http_version": "1.0"}, receive, send)

        for transport in (far, httpx.ASGITransport(older)):
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                assert (await client.get("/sagas")).status_code == 403
                assert (await client.get("/readyz")).status_code == 200
