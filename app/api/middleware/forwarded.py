"""What a proxy in front says of a request, and when that counts.

uvicorn takes `X-Forwarded-For` and `X-Forwarded-Proto` from the proxies that it is told to trust
(`--forwarded-allow-ips`, FORWARDED_ALLOW_IPS; loopback by default) and puts the client that they name in
place of the peer. What this service reads of its own follows the same trust.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from starlette.types import Scope

from app.api.http.headers.fields import fields_of

_PREFIXES = (b"x-forwarded-", b"x-original-", b"x-envoy-", b"cf-", b"x-appengine-")
_NAMES = frozenset(
    {
        *(b"forwarded", b"via", b"cdn-loop", b"client-ip", b"true-client-ip", b"x-real-ip", b"x-client-ip"),
        *(
            b"x-cluster-client-ip",
            b"fastly-client-ip",
            b"fly-client-ip",
            b"x-azure-clientip",
            b"x-proxyuser-ip",
        ),
    }
)


def through_proxy(scope: Scope) -> bool:
    """Whether a request was passed on by a proxy, as far as that can be told from it.

    By what proxies add; and by its version, as nginx up to 1.29 adds nothing unless told to, but speaks
    HTTP/1.0, which no browser and no curl does. Nobody can hide a proxy's header by sending more of them.
    """
    return scope.get("http_version") == "1.0" or _of_a_proxy(frozenset(fields_of(scope)))


@lru_cache(maxsize=256)
def _of_a_proxy(names: frozenset[bytes]) -> bool:
    return any(name in _NAMES or name.startswith(_PREFIXES) for name in names)


_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_LONGEST_PREFIX = 200


def forwarded_prefix(scope: Scope) -> str | None:
    """Return the path that a trusted proxy says it serves this service under (`/shop`), or None.

    What isn't one plain path is none: it goes into links.
    """
    given = fields_of(scope).get(b"x-forwarded-prefix", ())
    if not given or not _from_trusted_proxy(scope):
        return None
    prefix = given[0].decode("latin-1").rstrip("/") if len(given) == 1 else ""
    return prefix if len(prefix) <= _LONGEST_PREFIX and _PREFIX.fullmatch(prefix) else None


def _from_trusted_proxy(scope: Scope) -> bool:
    """Whether uvicorn trusts whoever sent this, or it came from this machine.

    uvicorn has put the forwarded client in place of a peer that it trusts, with the port 0, which no peer has.
    A socket file's peer has no address at all.
    """
    client = scope.get("client")
    if client is None or client[1] == 0:
        return True
    try:
        local = ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
    return local and b"x-forwarded-for" not in fields_of(scope)
