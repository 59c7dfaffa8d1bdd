"""One attempt is one request: connections that a client library can't use to repeat a request by itself.

aiohttp sends PUT, DELETE and GET a second time, within the same call, when the connection breaks before an
answer came, whether it was kept alive or new. A service that took effect and then broke the connection
would be asked twice in one attempt, and what it answers to the second request would hide that the outcome
of the first is unknown. There is no public switch for that, so it is stopped where it must pass:

    attempt ─ connect() ─ sent ─ answer
                 ▲           │ the connection broke: aiohttp asks for another one
                 └── refused ┘ RepeatRefused

A connection out of the pool is looked at before it is used: one that the server has closed meanwhile, though
this process hasn't been told yet, or on which something waits that nobody asked for, is closed and another
taken. Nothing was sent on it, so that costs no attempt.
"""

from __future__ import annotations

import select
import ssl
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

KEEP_ALIVE_SECONDS = 4.0
"""How long an idle connection is kept: less than the 5 s after which uvicorn and Node close one.

So we close it first, and no request meets the server's farewell on the way, which would leave its outcome
unknown. A server that closes earlier is found out before a request is sent, but for the time that its
farewell is on the wire: give a service a keep-alive of 5 s at least.
"""


class RepeatRefused(Exception):
    """The connection broke under a request, which is not sent a second time within its attempt."""


class Attempt:
    """How far a request has come. `sent`: it has a connection, TLS and all, and part of it may have been sent."""

    __slots__ = ("answered", "sent")

    def __init__(self) -> None:
        self.sent = False
        self.answered = False


@contextmanager
def one_attempt() -> Iterator[Attempt]:
    """Let one request leave within the block, through a `OneRequestConnector`; give how far it has come."""
    attempt = Attempt()
    token = _ATTEMPT.set(attempt)
    try:
        yield attempt
    finally:
        _ATTEMPT.reset(token)


_ATTEMPT: ContextVar[Attempt] = ContextVar("attempt")


class OneRequestConnector(aiohttp.TCPConnector):
    """A pool that gives each attempt one connection; outside of `one_attempt` it raises `LookupError`."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (aiohttp calls it so)
    ) -> Connection:
        """Return a connection that is open as far as is known; raise `RepeatRefused` for a second one."""
        attempt = _ATTEMPT.get()
        if attempt.sent:
            raise RepeatRefused
        connection = await super().connect(req, traces, timeout)
        while (protocol := connection.protocol) in _USED and _stale(protocol):
            connection.close()
            connection = await super().connect(req, traces, timeout)
        if protocol is not None:
            _USED.add(protocol)
        attempt.sent = True
        return connection


def one_request_session(
    *, verify: ssl.SSLContext | bool, max_connections: int, **options: Any
) -> aiohttp.ClientSession:
    """Return connections that do nothing unasked; they belong to the event loop that runs.

    No cookie is kept, no proxy taken from the environment, nothing decompressed. Nothing in it ends a request in
    time: the caller has one deadline around all of it, so that phases can't add up. `options` are the connector's.
    """
    return aiohttp.ClientSession(
        connector=OneRequestConnector(
            ssl=verify, limit=max_connections, keepalive_timeout=KEEP_ALIVE_SECONDS, **options
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


_USED: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()
"""The connections that had a request before. A new one isn't looked at: a server may speak first."""


def _stale(protocol: ResponseHandler | None) -> bool:
    """Whether an idle connection was closed by the server, or has something on it that nobody asked for."""
    if protocol is None or protocol.transport is None or protocol.should_close:
        return True
    sock = protocol.transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


__all__ = ["Attempt", "OneRequestConnector", "RepeatRefused", "one_attempt", "one_request_session"]
