"""Posting: to public addresses only, to the very address that was checked, and without following redirects."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from app.settings.ssrf_guard import is_public_address
from app.webhooks.client import NoPublicAddress, WebhookClient, system_addresses
from tests.builders import NOON
from tests.unit.gateway.network import Line, hostile, response, serving

PRIVATE = [
    "127.0.0.1", "127.9.9.9", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::1", "2001:db8::1", "shop.example", "",
]  # fmt: skip
PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_recognised_however_it_is_written(address: str) -> None:
    """Loopback, private, link-local, metadata; mapped into IPv6 or translated; and text that is no address."""
    assert not is_public_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_recognised(address: str) -> None:
    assert is_public_address(address)


class Receiver:
    """A server on loopback that records its requests."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.encodings: list[str] = []
        self.ports: list[int] = []
        self.over = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/hooks", self.take, methods=["POST"]),
                Route("/once", self.once, methods=["POST"]),
                Route("/bomb", self.bomb, methods=["POST"]),
                Route("/moved", self.moved, methods=["POST"]),
                Route("/endless", self.endless, methods=["POST"]),
                Route("/silent", self.silent, methods=["POST"]),
                Route("/busy", self.busy, methods=["POST"]),
            ]
        )

    async def take(self, request: Request) -> Response:
        self.hosts.append(request.headers["host"])
        return Response(status_code=204)

    async def once(self, request: Request) -> Response:
        self.hosts.append(request.headers["host"])
        return Response(status_code=204, headers={"connection": "close"})

    async def bomb(self, request: Request) -> Response:
        assert request.client is not None
        self.encodings.append(request.headers["accept-encoding"])
        self.ports.append(request.client.port)
        return Response(gzip.compress(bytes(10_000_000)), headers={"content-encoding": "gzip"})

    async def moved(self, _: Request) -> Response:
        return RedirectResponse("/hooks", status_code=307)

    async def endless(self, _: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65_536
                await asyncio.sleep(0)  # the server must notice that the client has left

        return StreamingResponse(body())

    async def silent(self, _: Request) -> Response:
        await self.over.wait()
        return Response()

    async def busy(self, _: Request) -> Response:
        return Response(status_code=429, headers={"Retry-After": "7"})


@pytest.fixture
async def at() -> AsyncIterator[tuple[Receiver, int]]:
    receiver = Receiver()
    async with serving(receiver.app) as url:  # type: ignore[arg-type]
        yield receiver, int(url.rpartition(":")[2])
        receiver.over.set()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
    ],
)
async def test_nothing_is_sent_to_a_private_address(host: str, at: tuple[Receiver, int]) -> None:
    """However the URL writes it: what counts is the address that the system makes of it."""
    receiver, port = at
    client = WebhookClient(f"http://{host}:{port}/hooks", timeout=30.0, max_connections=1)
    answer = await client.post(b"{}", {}, now=NOON)
    await client.aclose()
    assert not answer.accepted
    assert not receiver.hosts


class Network:
    """Redirects this loop's connections to one server; `silent` addresses never answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, port: int, *, silent: Collection[str] = ()) -> None:
        self.asked: list[str] = []
        self._port = port
        self._silent = silent
        loop = asyncio.get_running_loop()
        self._connect = loop.sock_connect
        monkeypatch.setattr(loop, "sock_connect", self._to)

    async def _to(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.asked.append(address[0])
        if address[0] in self._silent:
            await asyncio.Event().wait()
        await self._connect(sock, ("127.0.0.1", self._port))


async def test_a_rebinding_name_is_refused_or_connected_to_the_checked_address(
    at: tuple[Receiver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name is resolved once for each connection, which goes to that address."""
    receiver, port = at
    network = Network(monkeypatch, port)
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    client = WebhookClient(
        f"http://shop.example:{port}/once", timeout=30.0, max_connections=1, resolve=rebinding
    )
    first = await client.post(b"{}", {}, now=NOON)
    assert asked == ["shop.example"]
    second = await client.post(b"{}", {}, now=NOON)
    await client.aclose()
    assert first.accepted
    assert second.error == "The name leads to no public address; nothing was sent."
    assert asked == ["shop.example"] * 2
    assert network.asked == ["93.184.216.34"]
    assert receiver.hosts == [f"shop.example:{port}"]


async def test_a_reused_connection_goes_to_the_checked_address(
    at: tuple[Receiver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name isn't resolved again for it."""
    receiver, port = at
    network = Network(monkeypatch, port)
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])

    async def rebinding(_host: str, _port: int) -> list[str]:
        return next(answers)

    client = WebhookClient(
        f"http://shop.example:{port}/hooks", timeout=30.0, max_connections=1, resolve=rebinding
    )
    for _ in range(3):
        assert (await client.post(b"{}", {}, now=NOON)).accepted
    await client.aclose()
    assert network.asked == ["93.184.216.34"]
    assert len(receiver.hosts) == 3


async def test_a_silent_address_does_not_hide_the_one_that_answers(
    at: tuple[Receiver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An AAAA record that drops packets beside a good A record: both are tried, and only checked addresses are."""
    receiver, port = at
    silent = "2606:4700:4700::1111"
    network = Network(monkeypatch, port, silent=[silent])

    async def both(_host: str, _port: int) -> list[str]:
        return [silent, "127.0.0.1", "93.184.216.34", "10.0.0.1"]

    client = WebhookClient(f"http://shop.example:{port}/hooks", timeout=15.0, max_connections=1, resolve=both)
    answer = await client.post(b"{}", {}, now=NOON)
    await client.aclose()
    assert answer.status == 204
    assert network.asked == [silent, "93.184.216.34"]
    assert receiver.hosts == [f"shop.example:{port}"]


async def test_no_socket_is_created_for_a_private_address() -> None:
    """However the library came by it."""
    client = WebhookClient("https://shop.example/hooks", timeout=30.0, max_connections=1)
    with client._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("93.184.216.34", 443))):
        pass
    with pytest.raises(NoPublicAddress):
        client._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", 443)))


async def test_the_certificate_must_be_for_the_urls_name(
    at: tuple[Receiver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the connection goes to an address."""
    Network(monkeypatch, at[1])
    asked: dict[str, Any] = {}

    async def create_connection(*_: object, **options: Any) -> None:
        asked.update(options)
        options["sock"].close()
        raise OSError(0, "seen enough")

    async def found(_host: str, _port: int) -> list[str]:
        return ["93.184.216.34"]

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
    client = WebhookClient("https://shop.example/hooks", timeout=30.0, max_connections=1, resolve=found)
    assert (await client.post(b"{}", {}, now=NOON)).error is not None
    await client.aclose()
    assert asked["server_hostname"] == "shop.example"
    assert (asked["ssl"].verify_mode, asked["ssl"].check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_a_post_is_sent_once() -> None:
    """A broken connection ends the attempt; the retry schedule decides on the next one."""

    async def behave(line: Line) -> None:
        if len(server.heard) == 1:
            await line.say(response(204))
        else:
            line.reset()

    async with hostile(behave) as server:
        client = WebhookClient(f"{server.url}/hooks", timeout=30.0, max_connections=1, allow_private=True)
        assert (await client.post(b"{}", {}, now=NOON)).accepted
        assert (await client.post(b"{}", {}, now=NOON)).error is not None
        await client.aclose()
        assert len(server.heard) == 2


async def test_of_several_addresses_only_public_ones_are_connected_to(at: tuple[Receiver, int]) -> None:
    receiver, port = at

    async def mixed(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1", "::1", "169.254.169.254"]

    client = WebhookClient(
        f"http://shop.example:{port}/hooks", timeout=30.0, max_connections=1, resolve=mixed
    )
    assert (await client.post(b"{}", {}, now=NOON)).error is not None
    await client.aclose()
    assert not receiver.hosts


async def test_private_addresses_are_connected_to_where_they_are_allowed(at: tuple[Receiver, int]) -> None:
    """With the URL's own Host; the first reachable address is used."""
    receiver, port = at

    async def found(_host: str, _port: int) -> list[str]:
        return ["::1", "127.0.0.1"]

    client = WebhookClient(
        f"http://shop.example:{port}/hooks",
        timeout=30.0,
        max_connections=1,
        allow_private=True,
        resolve=found,
    )
    answer = await client.post(b"{}", {}, now=NOON)
    await client.aclose()
    assert (answer.status, answer.accepted) == (204, True)
    assert receiver.hosts == [f"shop.example:{port}"]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [("moved", 307, None), ("endless", 200, None), ("silent", None, "No answer within 0.5 s.")],
)
async def test_redirects_endless_answers_and_silence_end(
    path: str, status: int | None, error: str | None, at: tuple[Receiver, int]
) -> None:
    """A redirect is not followed, a body is read up to a limit, and the time-out covers everything."""
    receiver, port = at
    client = WebhookClient(
        f"http://127.0.0.1:{port}/{path}",
        timeout=0.5 if error else 30.0,
        max_connections=1,
        allow_private=True,
    )
    answer = await client.post(b"{}", {}, now=NOON)
    await client.aclose()
    assert (answer.status, answer.error) == (status, error)
    assert not receiver.hosts


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_not_used(
    name: str, at: tuple[Receiver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would connect to addresses that were never checked."""
    receiver, port = at
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    client = WebhookClient(
        f"http://127.0.0.1:{port}/hooks", timeout=30.0, max_connections=1, allow_private=True
    )
    answer = await client.post(b"{}", {}, now=NOON)
    await client.aclose()
    assert answer.accepted
    assert receiver.hosts == [f"127.0.0.1:{port}"]


async def test_a_compressed_body_is_not_decompressed(at: tuple[Receiver, int]) -> None:
    """Ten megabytes in ten kilobytes are read as ten kilobytes; nothing asks for them either."""
    receiver, port = at
    client = WebhookClient(
        f"http://127.0.0.1:{port}/bomb", timeout=30.0, max_connections=1, allow_private=True
    )
    first, second = await client.post(b"{}", {}, now=NOON), await client.post(b"{}", {}, now=NOON)
    await client.aclose()
    assert (first.accepted, second.accepted) == (True, True)
    assert receiver.encodings == ["identity"] * 2
    assert len(set(receiver.ports)) == 1  # the body was below the limit, so the connection was reused


async def test_retry_after_is_read(at: tuple[Receiver, int]) -> None:
    client = WebhookClient(
        f"http://127.0.0.1:{at[1]}/busy", timeout=30.0, max_connections=1, allow_private=True
    )
    answer = await client.post(b"{}", {}, now=NOON)
    await client.aclose()
    assert (answer.status, answer.retry_after, answer.accepted) == (429, 7.0, False)


async def test_the_systems_resolver_is_the_default() -> None:
    assert "127.0.0.1" in await system_addresses("127.0.0.1", 80)
