"""One client's connection: uvicorn's, parsed by llhttp, and mended in six places.

- An upgrade is ignored, as a server may that speaks nothing else (RFC 9110, 7.8). uvicorn loses the body of a
  request that offers one, and reads it as a request of its own where it comes in a second packet; Java's
  HttpClient offers `h2c` with its first request.
- A client that has closed its sending half is answered still: it said that it sends no more, not that it left.
- A request's head is bounded, in bytes and in time.
- What comes behind a chunked body, its trailer, is no part of the head (RFC 9110, 6.5.1), and bounded too: a proxy
  that sets or takes out a header field does so in the head alone.
- A body is handed on once it is whole, or 64 KiB of it are there: one that trickles in wakes nobody at each byte.
- An idle connection is kept for longer than proxies keep theirs: who closes first races with the next request.

Whatever isn't one of these costs a request nothing but a comparison or two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

UVICORNS_IDLE_SECONDS = 5
"""uvicorn's own default; whoever gives it another has chosen, and gets it."""

_HOPS = frozenset({b"upgrade", b"http2-settings"})
"""What an upgrade is offered with: the header fields, and their names in `Connection`."""


def _plain(status: int, words: str) -> tuple[bytes, bytes]:
    return b"text/plain; charset=utf-8", f"{status}: {words}".encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionLimits:
    """What a connection may take: bytes and fields of a request's head, seconds for it and between two requests.

    `refusal` renders an answer from a status and a sentence, as its media type and its body.
    """

    head_bytes: int = 32_768
    head_fields: int = 100
    head_seconds: float = 10.0
    idle_seconds: float = 130.0
    refusal: Callable[[int, str], tuple[bytes, bytes]] = field(default=_plain)


class HttpConnection(HttpToolsProtocol):
    """A connection within `limits`."""

    limits = ConnectionLimits()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.idle_seconds: float = config.timeout_keep_alive
        if config.timeout_keep_alive == UVICORNS_IDLE_SECONDS:
            self.idle_seconds = self.limits.idle_seconds
        self.timeout_keep_alive = self.idle_seconds  # type: ignore[assignment]  # handed to call_later alone
        self._in_head = False
        self._in_body = False
        self._behind = False
        self._pending = 0
        self._unmoved = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._too_large = False
        self._offered = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # uvicorn waits for ever for a first request.
        self.timeout_keep_alive_task = self.loop.call_later(
            self.idle_seconds, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()  # uvicorn's own leaves it to fire where the connection broke
        self._stop_timing_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._pending += len(data)  # at least as much as belongs to a head that ends or goes on here
        self._unmoved += len(data)  # at least as much as came since a body began or went on
        self._behind = self._in_body
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if self._too_large:
                self._refuse_head()
            else:
                self._refuse(400, "Invalid HTTP request received.")
            return
        if not self._in_head:
            self._pending = 0
            if self._head_timer is not None:
                self._stop_timing_head()
            if self._in_body and self._unmoved > self.limits.head_bytes:
                self._refuse_head()  # a trailer, or what chunks are called
            return
        if self._behind:
            self._pending = 0  # it began somewhere in the midst of what came
        elif self._pending > self.limits.head_bytes:
            self._refuse_head()
            return
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self._head_took_too_long)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's returns nothing
        """Hear that the client sends no more; return whether it is to be answered still.

        One that has been answered is gone, one that broke off its request too, and so is one that hears an
        answer without an end: it can't be told from one that left.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body or cycle.response_started:
            return False
        if self.scheme == "https":  # TLS has no half-closed connections in asyncio
            return False
        cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()  # by nothing less: blank lines, or the rest of a body, are no request
        self._in_head, self._in_body = True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # a trailer's
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._unset_keepalive_if_required()  # which the answer before may have set while this head came
        self._in_head, self._in_body, self._behind = False, True, True
        self._unmoved = 0
        if len(self.headers) > self.limits.head_fields or (
            self._pending > self.limits.head_bytes and self._head_bytes() > self.limits.head_bytes
        ):
            self._too_large = True
            raise ValueError("the request's head is too large")
        if self.parser.should_upgrade():
            self._offered = True  # the parser stops behind this head, which is then read again
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unmoved = 0
        if not self.cycle.response_complete:
            self.cycle.body += body
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
                self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._offered or self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def _feed(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                # In a loop, and nothing copied: a packet may hold many of these.
                data = memoryview(data)[offer.args[0] :]
                self._read_without_offer()
            else:
                return

    def _read_without_offer(self) -> None:
        """Read the head that has just come once more, without the upgrade that it offers; its body comes next."""
        self._offered = False
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError("this is no proxy")
        head = [method + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                kept = [token for token in value.split(b",") if token.strip().lower() not in _HOPS]
                head.append(b"connection: " + b",".join(kept))
            elif name not in _HOPS:
                head.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.parser.feed_data(b"\r\n".join(head) + b"\r\n\r\n")

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _stop_timing_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_took_too_long(self) -> None:
        self._head_timer = None
        self._refuse(408, f"Send a request's header fields within {self.limits.head_seconds:g} seconds.")

    def _refuse_head(self) -> None:
        limits = self.limits
        self._refuse(
            431,
            f"Send at most {limits.head_fields} header fields, and {limits.head_bytes} bytes of them and the URL.",
        )

    def _refuse(self, status: int, words: str) -> None:
        """Read nothing more; answer so, unless an earlier request's answer is due, and close."""
        self._refused = True
        self._stop_timing_head()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_complete and self._in_body:
            self.transport.close()  # it has its answer
            return
        if (
            cycle is not None
            and not cycle.response_complete
            and (self.pipeline or not cycle.more_body or cycle.response_started)
        ):
            cycle.keep_alive = False
            return
        media_type, body = self.limits.refusal(status, words)
        head = [
            b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: " + media_type,
            b"content-length: %d" % len(body),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
        self.transport.close()


def http_connection(limits: ConnectionLimits) -> type[HttpConnection]:
    """Return a kind of connection within these limits, for `uvicorn.run(…, http=…)`."""
    return type("LimitedHttpConnection", (HttpConnection,), {"limits": limits})
