"""Whether a request comes from this machine: without keys, no other is answered."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from app.api.http.headers.fields import fields_of
from app.api.middleware.proxies.forwarded import through_proxy


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own. `localhost` is, any other name isn't."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def from_outside(scope: Scope) -> bool:
    """Whether the request may come from another machine: one sign is enough.

    The signs: it came through any proxy; from an address that isn't loopback; to an address that other machines can
    reach; or under a name other than this machine's, because another site's page can make its own name resolve to
    this machine (DNS rebinding). A Unix socket has no address; only local programs can open it.
    """
    if through_proxy(scope):
        return True
    client, server = scope.get("client"), scope.get("server")
    host = fields_of(scope).get(b"host", (b"",))[0]
    return _is_outside(client[0] if client else None, server[0] if server else "", host)


@lru_cache(maxsize=256)
def _is_outside(client: str | None, address: str, host: bytes) -> bool:
    """Whether a client, the address that it reached or the name that it used isn't this machine's."""
    if client is not None and _is_loopback_address(client) is False:
        return True
    local = _is_loopback_address(address)
    return local is not None and not (local and _is_named(host.decode("latin-1"), address))


def _is_named(host: str, address: str) -> bool:
    """Whether a Host names this machine, by the address that was reached or another of loopback."""
    try:
        name = urlsplit(f"//{host}").hostname or address
    except ValueError:
        return False
    return name == address or is_loopback(name)


def _is_loopback_address(address: str) -> bool | None:
    """Whether an address is loopback; None for a Unix socket, which has none."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return None
