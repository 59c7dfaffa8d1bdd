"""Reading bodies as they arrive. They are counted apart from the checkouts in flight, so that slow uploads don't block those.

A body that has arrived is read at once, however slowly others arrive. If there are more than the limit, the oldest is
ended to make room: a client that really sends its body is done long before.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request

from app.api.problems.problem import Problem


class Uploads:
    """At most `limit` uploads at once, each for at most `seconds`."""

    def __init__(self, *, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._open: dict[asyncio.Timeout, float] = {}  # Each one's deadline, oldest first.
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def open(self) -> int:
        """How many are in progress."""
        return len(self._open)

    async def read(self, request: Request, *, max_bytes: int) -> bytes:
        """Return a request's body. Raise a problem if it is too large, or takes too long."""
        if len(self._open) >= self._limit:
            self._end_oldest()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as upload:
                self._open[upload] = loop.time() + self._seconds
                if self._sweep is None:  # one timer for all of them: nearly all are done long before it
                    self._sweep = loop.call_later(self._seconds, self._end_late)
                try:
                    return await _whole_body(request, max_bytes)
                finally:
                    self._open.pop(upload, None)
        except TimeoutError:
            raise Problem("request_timeout", headers=_hang_up(request)) from None

    def _end_late(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._open and next(iter(self._open.values())) <= now:
            self._end_oldest()
        self._sweep = None
        if self._open:
            until = next(iter(self._open.values()))
            self._sweep = asyncio.get_running_loop().call_at(until, self._end_late)

    def _end_oldest(self) -> None:
        oldest = next(iter(self._open))
        del self._open[oldest]
        with suppress(RuntimeError):  # it has timed out already
            oldest.reschedule(asyncio.get_running_loop().time())


async def _whole_body(request: Request, max_bytes: int) -> bytes:
    body = b""
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        body = body + chunk if body else chunk
        if len(body) > max_bytes:
            raise too_large(request, max_bytes)
        if not message.get("more_body", False):
            return body


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """Return a request's body, counted among the app's uploads."""
    uploads: Uploads = request.app.state.uploads
    return await uploads.read(request, max_bytes=max_bytes)


def too_large(request: Request, max_bytes: int) -> Problem:
    """Return the problem of a body of more than `max_bytes`."""
    return Problem("body_too_large", f"Send at most {max_bytes} bytes.", headers=_hang_up(request))


def _hang_up(request: Request) -> dict[str, str]:
    """Return the header that closes the connection: the rest of the body would be read as the next request."""
    return {"Connection": "close"} if str(request.scope.get("http_version", "")).startswith("1") else {}
