"""A client's connection: offers that nobody speaks, half-closed clients, and what a head may take."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from app.server import ConnectionLimits, http_connection

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"


class Echo:
    """Answers with what it was sent; `release` lets a request to /slow go on."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, dict[bytes, bytes]]] = []
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.asked.append((scope["path"], body, dict(scope["headers"])))
        if scope["path"] == "/slow":
            await self.release.wait()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body, "more_body": scope["path"] == "/stream"})
        if scope["path"] == "/stream":
            assert (await receive())["type"] == "http.disconnect"
            self.release.set()


async def at_once(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer without reading a body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def served(app: Any, limits: ConnectionLimits | None = None) -> AsyncIterator[int]:
    """Serve on a free port, and give it."""
    kind = http_connection(limits or ConnectionLimits())
    config = uvicorn.Config(app, port=0, http=kind, lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.force_exit = True
        await server.shutdown()


ANSWERED_SECONDS = 30.0


async def talk(port: int, *packets: bytes, half_close: bool = False, quiet: float = 0.1) -> bytes:
    """Send each packet by itself, and return all that comes until the server closes, or `quiet` seconds pass after it.

    Fail where nothing comes, and the server doesn't close either.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):  # a server that has answered may close before all is sent
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.02)  # a packet of its own
        if half_close:
            writer.write_eof()
    came, moment = b"", ANSWERED_SECONDS
    try:
        while chunk := await asyncio.wait_for(reader.read(65_536), moment):
            came, moment = came + chunk, quiet  # what follows an answer follows it at once
    except TimeoutError:
        assert came, "no answer"
    writer.close()
    return came


def a_post(body: bytes, *fields: bytes, path: bytes = b"/") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n" % (
        path,
        len(body),
        b"".join(fields),
    )


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    "upgrade",
    [
        OFFER,
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.0\r\n",
    ],
)
async def test_an_upgrade_is_ignored_and_the_body_is_the_requests(upgrade: bytes, together: bool) -> None:
    """Whether it comes in one packet with the head or in its own; what looks like a request in it is none."""
    inner = b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n"
    head = a_post(inner, upgrade)
    echo = Echo()
    async with served(echo) as port:
        came = await talk(
            port, *([head + inner] if together else [head, inner]), b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
        )
    assert [(path, body) for path, body, _ in echo.asked] == [("/", inner), ("/next", b"")]
    assert came.count(b"HTTP/1.1 200") == 2
    assert not {b"upgrade", b"http2-settings"} & set(echo.asked[0][2])


async def test_a_chunked_body_behind_an_offer_is_read_too() -> None:
    echo = Echo()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + OFFER + b"\r\n"
    async with served(echo) as port:
        await talk(port, head, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [(path, body) for path, body, _ in echo.asked] == [("/", b"abcde"), ("/next", b"")]


async def test_a_body_that_trickles_in_wakes_the_application_once() -> None:
    """Whatever packets it comes in; a long one comes in parts, so that nobody has to keep it whole."""
    parts: list[int] = []

    async def count(_scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            parts.append(len(message["body"]))
            more = message["more_body"]
        await at_once(_scope, receive, send)

    async with served(count) as port:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"
        assert b" 200 " in await talk(port, head, *(b"%d" % digit for digit in range(6)))
        assert parts == [6]
        parts.clear()
        long = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
        assert b" 200 " in await talk(port, long)
        assert (sum(parts), len(parts) > 1) == (200_000, True)


async def test_many_offers_in_one_packet_are_as_many_requests() -> None:
    """None is read inside of another."""
    echo = Echo()
    async with served(echo) as port:
        await talk(port, (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n") * 300)
    assert len(echo.asked) == 300


@pytest.mark.parametrize(
    "request_head",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
        + OFFER
        + b"\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n" + OFFER + b"\r\nabcd",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_two_servers_could_read_in_two_ways_is_refused(request_head: bytes) -> None:
    """With an upgrade or without."""
    echo = Echo()
    async with served(echo) as port:
        came = await talk(port, request_head)
    assert came.startswith(b"HTTP/1.1 400 ")
    assert came.endswith(b"400: Invalid HTTP request received.")
    assert echo.asked == []


async def test_a_client_that_closed_its_sending_half_is_answered() -> None:
    """It is when its request was whole."""
    echo = Echo()
    echo.release.set()
    async with served(echo) as port:
        for packets in (
            [a_post(b"abc") + b"abc"],
            [a_post(b"abc"), b"abc"],
            [a_post(b"abc", path=b"/slow") + b"abc"],
        ):
            came = await talk(port, *packets, half_close=True)
            assert came.startswith(b"HTTP/1.1 200 "), came
            assert came.endswith(b"abc")


async def test_who_breaks_off_a_body_or_leaves_a_stream_is_gone() -> None:
    """There is nothing to answer, or it has no end."""
    echo = Echo()
    async with served(echo) as port:
        assert await talk(port, a_post(b"abc") + b"a", half_close=True) == b""
        assert echo.asked == []
        head = b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"
        await talk(port, head, half_close=True)
        async with asyncio.timeout(60):
            await echo.release.wait()


async def test_a_head_is_bounded_in_bytes_and_fields() -> None:
    """Whole in one packet, or trickling; a body isn't counted."""
    limits = ConnectionLimits(head_bytes=2_000, head_fields=10)
    echo = Echo()
    async with served(echo, limits) as port:
        long = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"c" * 2_000 + b"\r\n\r\n"
        many = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(10)) + b"\r\n"
        for packets in (
            [long],
            [many],
            [long[:1_000], long[1_000:]],
            [long[:1_500], long[1_500:2_020]],
            [b"GET /" + b"p" * 3_000],
        ):
            came = await talk(port, *packets)
            assert came.startswith(b"HTTP/1.1 431 "), (packets, came)
        assert echo.asked == []
        body = b"b" * 10_000
        next_request = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
        came = await talk(port, a_post(body) + body + next_request[:10], next_request[10:])
        assert came.count(b"HTTP/1.1 200") == 2
        came = await talk(port, next_request * 200 + next_request[:10], next_request[10:])
        assert came.count(b"HTTP/1.1 200") == 201


async def test_a_head_that_trickles_is_ended_and_an_idle_connection_too() -> None:
    """A head has its time from its first byte on."""
    limits = ConnectionLimits(head_seconds=0.05, idle_seconds=0.1)
    async with served(Echo(), limits) as port:
        assert (await talk(port, b"GET / HT", b"TP", b"/1.1\r\n", b"Ho")).startswith(b"HTTP/1.1 408 ")
        assert await talk(port) == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(60):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 "), "read to its end"
        writer.close()


async def test_an_answer_that_is_due_comes_before_a_refusal() -> None:
    """What is wrong behind a request in hand isn't answered in its stead."""
    echo = Echo()
    async with served(echo) as port:
        asyncio.get_running_loop().call_later(0.1, echo.release.set)
        came = await talk(port, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")
    assert came.startswith(b"HTTP/1.1 200 ")
    assert b"400" not in came


CHUNKED = b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"


async def test_a_trailer_is_no_part_of_the_head() -> None:
    """A proxy sets and takes out fields in the head alone."""
    echo = Echo()
    trailer = b"0\r\nX-Forwarded-For: 127.0.0.1\r\nAuthorization: Bearer ck\r\n\r\n"
    async with served(echo) as port:
        for packets in ([CHUNKED + trailer], [CHUNKED, trailer]):
            await talk(port, *packets, b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [(path, body, set(fields)) for path, body, fields in echo.asked] == [
        ("/chunked", b"x", {b"host", b"transfer-encoding"}),
        ("/next", b"", {b"host"}),
    ] * 2


@pytest.mark.parametrize(
    "packet", [b"a: b\r\n" * 100, b"a: " + b"b" * 700, b"1;" + b"c" * 700], ids=["fields", "field", "chunk"]
)
@pytest.mark.parametrize("answered", [False, True])
async def test_what_stands_around_a_body_is_bounded(packet: bytes, answered: bool) -> None:
    """Also where the request has its answer: nobody reads the rest, which has no end."""
    limits = ConnectionLimits(head_bytes=2_000)
    begin = CHUNKED if packet.startswith(b"1;") else CHUNKED + b"0\r\n"
    more = packet.rpartition(b" ")[2] if b": b\r" not in packet else packet
    async with served(at_once if answered else Echo(), limits) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin + packet)
        for _ in range(4):
            await asyncio.sleep(0.02)
            writer.write(more.removeprefix(b"1;"))
        async with asyncio.timeout(60):
            came = await reader.read()
        writer.close()
    assert came.count(b"HTTP/1.1 ") == 1
    assert came.startswith(b"HTTP/1.1 200 " if answered else b"HTTP/1.1 431 ")


@pytest.mark.parametrize("rest", [b"\r\n", b"x"], ids=["a blank line", "some of a body"])
async def test_an_answered_connection_is_idle_whatever_comes_that_is_no_request(rest: bytes) -> None:
    """Else one byte would keep it for ever."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"Content-Length: 9\r\n" if rest == b"x" else b"") + b"\r\n"
    async with served(at_once, ConnectionLimits(idle_seconds=0.1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        await asyncio.sleep(0.02)
        writer.write(rest)
        async with asyncio.timeout(60):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_request_is_under_way_however_long_it_takes() -> None:
    """Its head may have begun before the answer to the one before it: then nothing is idle either."""
    echo = Echo()
    async with served(echo, ConnectionLimits(idle_seconds=0.1)) as port:
        asyncio.get_running_loop().call_later(0.3, echo.release.set)
        came = await talk(
            port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HT", b"TP/1.1\r\nHost: a\r\n\r\n", quiet=0.5
        )
    assert came.count(b"HTTP/1.1 200 ") == 2


async def test_a_broken_body_behind_a_request_in_hand_is_not_answered_in_its_stead() -> None:
    """As what is no request at all."""
    echo = Echo()
    async with served(echo) as port:
        asyncio.get_running_loop().call_later(0.1, echo.release.set)
        came = await talk(port, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + CHUNKED + b"nonsense\r\n")
    assert came.startswith(b"HTTP/1.1 200 ")
    assert b"400" not in came


@pytest.mark.parametrize(("given", "kept"), [(5, 130.0), (30, 30)])
async def test_an_idle_connection_outlasts_the_proxys_unless_somebody_chose(given: int, kept: float) -> None:
    """nginx keeps its connections for 60 s, Go's proxies for 90, Caddy for 120."""
    config = uvicorn.Config(
        Echo(), http=http_connection(ConnectionLimits()), timeout_keep_alive=given, log_config=None
    )
    config.load()
    connection = http_connection(ConnectionLimits())(config, uvicorn.server.ServerState(), {})
    assert connection.timeout_keep_alive == kept
