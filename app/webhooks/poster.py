"""Posts to one endpoint: to the very address that was looked at, so that no name can point elsewhere meanwhile.

    name ── resolve ──▶ addresses ── public? ──▶ connect to that address, TLS for the name

(A name that is looked up once to be checked and once more to connect may answer differently: DNS rebinding.)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import httpx2 as httpx

from app.addresses import is_public
from app.services.http_answer import retry_after

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses that a name has now."""

MOST_READ = 65_536
"""So much of an answer's body is read, to keep the connection; nothing of it is kept."""

KEEP_ALIVE_SECONDS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
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


class Poster:
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
        parts = urlsplit(url)
        self._parts = parts
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._timeout = timeout
        self._allow_private = allow_private
        self._resolve = resolve
        self._transport = httpx.AsyncHTTPTransport(
            verify=verify,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=max_connections,
                max_keepalive_connections=max_connections,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
            ),
        )

    async def post(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Posted:
        """Post once and return what came of it; it raises nothing of the network's."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(body, headers, now)
        except TimeoutError:
            return Posted(error=f"No answer within {self._timeout:g} s.")
        except Exception as error:  # noqa: BLE001 (whatever the network does to us is an attempt that failed)
            return Posted(error=f"Not reached, or no whole answer ({type(error).__name__}).")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def _post(self, body: bytes, headers: Mapping[str, str], now: datetime) -> Posted:
        addresses = await self._resolve(self._host, self._port)
        allowed = [one for one in addresses if self._allow_private or is_public(one)]
        if not allowed:
            return Posted(error="The name leads to no public address; nothing was sent.")
        response = await self._answer(allowed, body, headers)
        try:
            read = 0
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > MOST_READ:
                    break
        finally:
            await response.aclose()
        return Posted(
            status=response.status_code,
            retry_after=retry_after(response.headers.get("retry-after"), now=now),
        )

    async def _answer(self, addresses: list[str], body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Ask the first address that can be reached; where none can, raise what the last one raised."""
        *others, last = addresses
        for address in others:
            with contextlib.suppress(httpx.ConnectError):
                return await self._transport.handle_async_request(self._request(address, body, headers))
        return await self._transport.handle_async_request(self._request(last, body, headers))

    def _request(self, address: str, body: bytes, headers: Mapping[str, str]) -> httpx.Request:
        """Return the request to this very address, under the name that the URL has."""
        place = f"[{address}]" if ":" in address else address
        target = self._parts._replace(netloc=f"{place}:{self._port}").geturl()
        return httpx.Request(
            "POST",
            target,
            headers={
                "host": self._parts.netloc,
                "content-type": "application/json",
                "accept-encoding": "identity",
                "user-agent": "checkout-webhooks",
                **headers,
            },
            content=body,
            extensions={"sni_hostname": self._host, "timeout": httpx.Timeout(None).as_dict()},
        )
