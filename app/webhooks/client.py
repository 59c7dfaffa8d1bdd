"""Posts to one endpoint, and only to addresses that were checked.

    name ── resolve ──▶ addresses ── public? ──▶ connect to one of those, with TLS for the name

A name that is resolved once for the check and once more for the connection may give two answers (DNS rebinding). So
aiohttp gets a resolver that returns checked addresses only, and each socket is checked once more as it is created.
aiohttp tries the addresses side by side, the next one a quarter of a second after the last (happy eyeballs, RFC 8305):
an unreachable IPv6 address doesn't delay a delivery to the IPv4 one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from app.gateway.http_answer import retry_after
from app.gateway.one_request import one_attempt, one_request_session
from app.settings.ssrf_guard import is_address, is_public_address
from app.webhooks.response import WebhookResponse

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the present addresses of a name."""

MAX_RESPONSE_BYTES = 65_536
"""How much of a response's body is read and dropped, so that the connection can be reused; a longer one is closed."""


async def system_addresses(host: str, port: int) -> list[str]:
    """Ask the system's resolver for the addresses of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class WebhookClient:
    """Posts to one URL. `timeout` seconds cover everything from the name to the answer. Redirects are not followed."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        max_connections: int,
        allow_private: bool = False,
        resolve: Resolve = system_addresses,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._url = URL(url, encoded=True)
        self._host = urlsplit(url).hostname or ""
        self._timeout = timeout
        self._max_connections = max_connections
        self._allow_private = allow_private
        self._resolve = resolve
        self._verify = verify
        self._opened: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> WebhookResponse:
        """Post once and return the result; no error of the network is raised."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(body, headers, now)
        except TimeoutError:
            return WebhookResponse(error=f"No answer within {self._timeout:g} s.")
        except NoPublicAddress:
            return WebhookResponse(error="The name leads to no public address; nothing was sent.")
        except Exception as error:  # noqa: BLE001 (whatever the network does, the attempt has failed)
            return WebhookResponse(error=f"Not reached, or no whole answer ({type(error).__name__}).")

    async def aclose(self) -> None:
        """Close every connection."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def _post(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookResponse:
        if is_address(self._host) and not self._allowed(self._host):
            raise NoPublicAddress
        with one_attempt():
            async with self._session().post(
                self._url, data=body, headers={**_HEADERS, **headers}, allow_redirects=False
            ) as response:
                read = 0
                async for chunk in response.content.iter_any():
                    read += len(chunk)
                    if read > MAX_RESPONSE_BYTES:
                        response.close()
                        break
        return WebhookResponse(
            status=response.status,
            retry_after=retry_after(response.headers.get("retry-after"), now=now),
        )

    def _session(self) -> aiohttp.ClientSession:
        """Return the pool, which belongs to the event loop of the first post."""
        if self._opened is None:
            self._opened = one_request_session(
                verify=self._verify,
                max_connections=self._max_connections,
                resolver=_CheckedResolver(self._resolve, self._allowed),
                use_dns_cache=False,
                socket_factory=self._socket,
            )
        return self._opened

    def _allowed(self, address: str) -> bool:
        return self._allow_private or is_public_address(address)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Return a socket for a connection to an address: the last check, however the library came by the address."""
        family, kind, proto, _, address = info
        if not self._allowed(str(address[0])):
            raise NoPublicAddress
        return socket.socket(family, kind, proto)


_HEADERS = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "user-agent": "checkout-webhooks",
}


class NoPublicAddress(Exception):
    """This name has no address that may be connected to."""


class _CheckedResolver(AbstractResolver):
    """Resolves a name to those of its addresses that may be connected to."""

    def __init__(self, resolve: Resolve, allowed: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._allowed = allowed

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 (both are resolved)
    ) -> list[ResolveResult]:
        """Raise `NoPublicAddress` where the name has none."""
        found = [one for one in await self._resolve(host, port) if self._allowed(one)]
        if not found:
            raise NoPublicAddress
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is held open."""
