"""Refuses checkouts beyond the limit, before anything of them is read, and so cheaply that the rest isn't starved.

The answer is made once. A refusal is counted, and has no log line of its own: `checkouts_refused` sums them up.

Clients that repeat at once what was refused would have the process do nothing but refuse. So an answer is held back
for half a second, or for longer where more than `REFUSALS_PER_SECOND` would go: they cost a twentieth of the process
at most, however many and quick the clients are. No more than `MOST_HELD` wait at once, and one timer serves them all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.context import AppContext
from app.api.http.headers.fields import lines_of
from app.api.http.headers.idempotency import idempotency_key
from app.api.middleware.admission import Admission
from app.api.middleware.proxies.base_path import base_path
from app.api.middleware.request_context import SAFE_HEADERS, sane_request_id
from app.api.problems.problem import Problem

_logger = logging.getLogger(__name__)

REFUSALS_PER_SECOND = 500
MOST_HELD = 2048
SUMMARY_SECONDS = 10.0
_TICK_SECONDS = 0.02
"""No more timers than this: those whose turn came meanwhile go together."""

_MARK = "the id of the request"


class OverCapacity:
    """Wraps the API, outside of what is done for each request; `path` is the checkout's."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        path: str,
        hold_seconds: float,
    ) -> None:
        self._app = app
        self._admission = admission
        self._path = path
        self._held = HeldBack(hold_seconds, most=MOST_HELD, per_second=REFUSALS_PER_SECOND)
        self._refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["path"] != self._path
            or scope["method"] != "POST"
            or scope["query_string"]  # it may be a dry run, which needs no room
            or (service := self._full(scope)) is None
        ):
            await self._app(scope, receive, send)
            return
        request_id = sane_request_id(lines_of(scope, b"x-request-id"))
        if request_id is None or _runs(service, lines_of(scope, b"idempotency-key")):
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        self._count()
        await self._held.wait()
        if service.metrics is not None:
            service.metrics.refused("over_capacity")
            service.metrics.answered(self._path, "POST", 503, time.perf_counter() - began)
        head, tail = _answer(base_path())
        body = b"%b%b%b" % (head, json.dumps(request_id).encode(), tail)
        headers = [
            *_headers(),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id.encode()),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _full(self, scope: Scope) -> AppContext | None:
        """Return the service where it has no room for a checkout."""
        service: AppContext | None = getattr(scope["app"].state, "service", None)
        if service is None or service.draining.is_set() or not self._admission.full(service):
            return None
        return service

    def _count(self) -> None:
        if not self._refused:
            asyncio.get_running_loop().call_later(SUMMARY_SECONDS, self._sum_up)
        self._refused += 1

    def _sum_up(self) -> None:
        _logger.warning("checkouts_refused", extra={"count": self._refused, "seconds": SUMMARY_SECONDS})
        self._refused = 0


class HeldBack:
    """Lets answers wait for `seconds` at least, and go at most `per_second`, in their order.

    Where `most` wait, one more goes at once.
    """

    def __init__(self, seconds: float, *, most: int, per_second: float) -> None:
        self._seconds = seconds
        self._most = most
        self._apart = 1 / per_second
        self._last = 0.0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Return when it is this answer's turn; at once where too many wait."""
        if not self._seconds or len(self._waiting) >= self._most:
            return
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._last = max(loop.time() + self._seconds, self._last + self._apart)
        self._waiting.append((self._last, future))
        if len(self._waiting) == 1:
            self._wake(loop)
        await future

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(max(_TICK_SECONDS, self._waiting[0][0] - loop.time()), self._release, loop)

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of those whose turn it is."""
        now = loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
        if self._waiting:
            self._wake(loop)


def _runs(service: AppContext, keys: list[str]) -> bool:
    """Whether a saga of this key runs here; whose it is, is looked at once the caller is known."""
    try:
        key = idempotency_key(keys, required=False)
    except Problem:
        return False
    return key is not None and service.runs_key(key, None)


@lru_cache(maxsize=16)
def _answer(_base_path: str) -> tuple[bytes, bytes]:
    """Return the body's beginning and end, between which the request's id goes, for clients under a base path."""
    head, _, tail = bytes(Problem("over_capacity").response(_MARK).body).partition(json.dumps(_MARK).encode())
    return head, tail


@lru_cache(maxsize=1)
def _headers() -> tuple[tuple[bytes, bytes], ...]:
    response = Problem("over_capacity").response("")
    own = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    named = {name for name, _ in own}
    return (*own, *(header for header in SAFE_HEADERS if header[0] not in named))
