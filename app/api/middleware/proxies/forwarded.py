"""What a proxy in front says about a request, and when it is trusted.

uvicorn accepts `X-Forwarded-For` and `X-Forwarded-Proto` from trusted proxies (`--forwarded-allow-ips`,
FORWARDED_ALLOW_IPS; loopback by default), and replaces the peer by the client that they name. This service trusts the
same proxies.
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
    """Whether a request came through a proxy, as far as it shows that.

    Proxies add headers. nginx up to 1.29 adds none by default, but speaks HTTP/1.0, which no browser and no curl
    does. A client can't hide a proxy's header by sending more of them.
    """
    return scope.get("http_version") == "1.0" or _of_a_proxy(frozenset(fields_of(scope)))


@lru_cache(maxsize=256)
def _of_a_proxy(names: frozenset[bytes]) -> bool:
    return any(name in _NAMES or name.startswith(_PREFIXES) for name in names)


_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_LONGEST_PREFIX = 200


def forwarded_prefix(scope: Scope) -> str | None:
    """Return the path under which a trusted proxy serves this service (`/shop`), or None.

    Anything but one plain path is ignored, as it goes into links.
    """
    given = fields_of(scope).get(b"x-forwarded-prefix", ())
    if not given or not _from_trusted_proxy(scope):
        return None
    prefix = given[0].decode("latin-1").rstrip("/") if len(given) == 1 else ""
    return prefix if len(prefix) <= _LONGEST_PREFIX and _PREFIX.fullmatch(prefix) else None


def _from_trusted_proxy(scope: Scope) -> bool:
    """Whether uvicorn trusts the peer, or the request came from this machine.

    uvicorn replaces a trusted peer by the forwarded client, with the port 0, which no peer has. The peer of a Unix
    socket has no address.
    """
    client = scope.get("client")
    if client is None or client[1] == 0:
        return True
    try:
        local = ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
    return local and b"x-forwarded-for" not in fields_of(scope)
