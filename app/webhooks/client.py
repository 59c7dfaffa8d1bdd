"""Posts to one endpoint: to addresses that were checked alone, so that no name can point elsewhere meanwhile.

    name ── resolve ──▶ addresses ── public? ──▶ connect to one of those, TLS for the name

(A name that is looked up once to be checked and once more to connect may answer differently: DNS rebinding.)
The library connects to what the one look-up of ours returned, and each socket is checked once more as it is made.
The addresses are tried side by side, the next one a quarter of a second after the last (happy eyeballs, RFC 8305):
one that keeps silent, an IPv6 address behind a firewall that drops, doesn't hide the one that answers.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from app.gateway.http_answer import retry_after
from app.gateway.one_request import one_attempt, one_request_session
from app.settings.ssrf_guard import is_public_address

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses that a name has now."""

MAX_RESPONSE_BYTES = 65_536
"""So much of an answer's body is read, to keep the connection; nothing of it is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookResponse:
    """What a receiver answered: a status, or in words why there is none."""

    status: int | None = None
    retry_after: float | None = None
    error: str | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300


async def resolved(host: str, port: int) -> list[str]:
    """Ask the system for a name's addresses."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class WebhookClient:
    """Posts to one URL. `timeout` covers all of it: name, connection, answer. Redirects are not followed."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        max_connections: int,
        allow_private: bool = False,
        resolve: Resolve = resolved,
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
        """Post once and return what came of it; it raises nothing of the network's."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(body, headers, now)
        except TimeoutError:
            return WebhookResponse(error=f"No answer within {self._timeout:g} s.")
        except NoPublicAddress:
            return WebhookResponse(error="The name leads to no public address; nothing was sent.")
        except Exception as error:  # noqa: BLE001 (whatever the network does to us is an attempt that failed)
            return WebhookResponse(error=f"Not reached, or no whole answer ({type(error).__name__}).")

    async def aclose(self) -> None:
        """Close every connection."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def _post(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookResponse:
        if _is_address(self._host) and not self._allowed(self._host):
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
        """Return the connections; they belong to the event loop in which the first post is made."""
        if self._opened is None:
            self._opened = one_request_session(
                verify=self._verify,
                max_connections=self._max_connections,
                resolver=_Checked(self._resolve, self._allowed),
                use_dns_cache=False,
                socket_factory=self._socket,
            )
        return self._opened

    def _allowed(self, address: str) -> bool:
        return self._allow_private or is_public_address(address)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Return a socket for an address that is about to be connected to: the last door, whatever came before."""
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
    """No address of this name may be asked."""


class _Checked(AbstractResolver):
    """Resolves a name to the addresses that may be asked."""

    def __init__(self, resolve: Resolve, allowed: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._allowed = allowed

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 (both are asked)
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
        """Nothing is held."""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
