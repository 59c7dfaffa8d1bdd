"""What a proxy in front says of a request, and when that counts.

uvicorn takes `X-Forwarded-For` and `X-Forwarded-Proto` from the proxies that it is told to trust
(`--forwarded-allow-ips`, FORWARDED_ALLOW_IPS; loopback by default) and puts the client that they name in
place of the peer. What this service reads of its own follows the same trust.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope

Header = tuple[bytes, bytes]

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
    if scope.get("http_version") == "1.0":
        return True
    headers: Iterable[Header] = scope["headers"]
    return any(name in _NAMES or name.startswith(_PREFIXES) for name, _ in headers)
