"""What the real server makes of a proxy's headers: whom it trusts, and under which path it is reached."""

from __future__ import annotations

from pathlib import Path

import httpx2 as httpx
import pytest

from tests.processes import a_checkout, an_order

PROXY = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Prefix": "/shop"}


def env_of(tmp_path: Path, **more: str) -> dict[str, str]:
    database = f"sqlite:///{tmp_path}/checkout.db"
    return {
        "DATABASE_URL": database,
        "SANDBOX_DATABASE": ":memory:",
        "CHECKOUT_ALLOW_UNAUTHENTICATED": "true",
        **more,
    }


@pytest.mark.parametrize(
    ("options", "headers", "base"),
    [
        ([], PROXY, "/shop"),
        ([], {"X-Forwarded-Prefix": "/shop"}, "/shop"),
        (["--forwarded-allow-ips", "10.0.0.5"], PROXY, ""),
        (["--forwarded-allow-ips", "*"], PROXY, "/shop"),
        (["--root-path", "/shop"], {}, "/shop"),
        (["--root-path", "/old"], PROXY, "/shop"),
    ],
)
def test_the_base_path_comes_from_the_option_or_a_trusted_proxy(
    tmp_path: Path, options: list[str], headers: dict[str, str], base: str
) -> None:
    """Stripped by the proxy or kept; and Location follows."""
    with a_checkout(env_of(tmp_path), tmp_path / "log", options=options) as server:
        for number, path in enumerate(("/checkout", f"{base}/checkout")):
            answer = httpx.post(
                server.url + path,
                json=an_order(f"ord-{number}"),
                headers=headers,
                trust_env=False,
                verify=False,
            )
            assert answer.status_code == 201, path
            assert answer.headers["location"] == f"{base}/sagas/{answer.json()['id']}"


def test_without_keys_what_a_proxy_on_this_machine_passes_on_is_refused(tmp_path: Path) -> None:
    """Whether or not uvicorn trusts the proxy, and has put the client in its place."""
    for number, options in enumerate(([], ["--forwarded-allow-ips", "10.0.0.5"])):
        env = env_of(tmp_path, CHECKOUT_ALLOW_UNAUTHENTICATED="false")
        with a_checkout(env, tmp_path / f"log-{number}", options=options) as server:
            refused = httpx.post(f"{server.url}/keys", json={}, headers=PROXY, trust_env=False, verify=False)
            assert (refused.status_code, refused.json()["code"]) == (403, "keys_required")
            assert httpx.get(f"{server.url}/sagas", trust_env=False, verify=False).status_code == 200
