"""Servers on loopback sockets: the sandbox's own, and one that answers whatever a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI


class _Server(uvicorn.Server):
    """A server that leaves the test run's signals alone."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1))
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application on a loopback socket; give its base URL."""
    # With its protocol named, so that asyncio sets TCP_NODELAY: each answer would wait 40 ms for an ACK otherwise.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    server = _Server(app)
    task = asyncio.create_task(server._serve([listener]))
    await server.ready.wait()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@dataclass
class Line:
    """One connection to a hostile server, and what has come over it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, text: bytes) -> None:
        """Send raw bytes."""
        self.writer.write(text)
        await self.writer.drain()

    def shut(self, last_words: bytes = b"") -> None:
        """Close it at once, and not only when the loop comes to it: as a server in another process would."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as end:
            end.send(last_words)
            end.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Break the connection at once, without a farewell."""
        self.writer.transport.abort()

    async def silence(self) -> None:
        """Say nothing until the caller hangs up."""
        await self.reader.read()


@dataclass
class Hostile:
    """A server that hears a whole request and then does what the test wants."""

    url: str
    heard: list[bytes] = field(default_factory=list)
    stop: Callable[[], None] = lambda: None

    @property
    def head(self) -> dict[str, str]:
        """The last request's headers, by their names in lower case."""
        lines = self.heard[-1].decode().split("\r\n\r\n")[0].split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def first_line(self) -> str:
        return self.heard[-1].split(b"\r\n")[0].decode()


Behaviour = Callable[[Line], Awaitable[None]]


@asynccontextmanager
async def hostile(behave: Behaviour, *, greeting: bytes = b"") -> AsyncIterator[Hostile]:
    """Run a server that reads each whole request and then behaves as configured."""
    tasks: set[asyncio.Task[None]] = set()
    server_of: list[Hostile] = []
    lines: list[Line] = []

    async def serve(line: Line) -> None:
        lines.append(line)
        try:
            if greeting:
                await line.say(greeting)
            while request := await _heard(line.reader):
                server_of[0].heard.append(request)
                await behave(line)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            line.writer.close()
            with contextlib.suppress(OSError):
                await line.writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(Line(reader, writer)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)

    def stop() -> None:
        """End it at once: nobody listens any more, and every connection is closed."""
        server.close()
        for line in lines:
            line.shut()

    server_of.append(Hostile(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", stop=stop))
    try:
        yield server_of[0]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _heard(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + await reader.readexactly(length)


def response(
    status: int, body: bytes = b"", *, content_type: str = "application/json", headers: str = ""
) -> bytes:
    """Return a whole HTTP answer."""
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    ).encode("latin-1") + body


def answering(text: bytes) -> Behaviour:
    """Return the behaviour of a server that always says the same."""

    async def behave(line: Line) -> None:
        await line.say(text)

    return behave
