"""What every answer has: a request id, safe headers, no body for HEAD, and a problem for every error.

It is plain ASGI middleware, so it neither buffers a stream nor keeps a cancellation from a handler.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid4

from app.access.principal import ANONYMOUS, Principal
from app.api.http.card_number_check import refuse_card_number_in_header
from app.api.http.headers.fields import lines_of
from app.api.middleware.startup import run_lifespan
from app.api.problems.problem import Problem
from app.telemetry.access_log import AccessLog

_logger = logging.getLogger(__name__)
_SANE = re.compile(r"[\x21-\x7e]{1,128}")

SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""Where an answer has none of its own."""


def request_id_of(request: Request) -> str:
    """Return the id that this request's answer and log lines carry."""
    request_id: str = request.scope["state"]["request_id"]
    return request_id


class RequestContextMiddleware:
    """Wraps the whole API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._access = AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(self._app, scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = lines_of(scope, b"x-request-id")
        request_id, refused = _request_id(given), None
        try:
            refuse_card_number_in_header("X-Request-ID", given)
        except Problem as problem:
            request_id, refused = _request_id([]), problem
        head = scope["method"] == "HEAD"
        inner = {
            **scope,
            "method": "GET" if head else scope["method"],
            "state": {**scope.get("state", {}), "request_id": request_id},
        }
        began = time.perf_counter()
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._note(inner, message["status"], time.perf_counter() - began)
                answered = message.get("headers", ())
                names = {name for name, _ in answered}
                message["headers"] = [
                    *answered,
                    (b"x-request-id", request_id.encode("latin-1")),
                    *(field for field in SAFE_HEADERS if field[0] not in names),
                ]
            await send(message)

        try:
            answer = self._app if refused is None else refused.response(request_id)
            await (_headers_of(answer) if head else answer)(inner, receive, send_with_headers)
        except ClientDisconnect:
            _logger.info("client_disconnected", extra={"request_id": request_id})
        except Exception:
            _logger.exception("request_failed", extra={"request_id": request_id})
            if started:
                raise
            fault = Problem("internal_error").response(request_id)
            await (_headers_of(fault) if head else fault)(inner, receive, send_with_headers)

    def _note(self, scope: Scope, status: int, took: float) -> None:
        """Count the answer and log it, by the route's template."""
        route = getattr(scope.get("route"), "path_format", "none")
        service = getattr(getattr(scope.get("app"), "state", None), "service", None)
        if service is not None and service.metrics is not None:
            service.metrics.answered(route, scope["method"], status, took)
        state = scope["state"]
        caller: Principal = state.get("caller", ANONYMOUS)
        self._access.note(
            method=scope["method"],
            route=route,
            status=status,
            took=took,
            request_id=state["request_id"],
            caller=caller.tenant,
        )


def _request_id(given: list[str]) -> str:
    """Return the caller's own id if it is one short, visible value, else a new one."""
    if len(given) == 1 and _SANE.fullmatch(given[0]):
        return given[0]
    return str(uuid4())


def sane_request_id(given: list[str]) -> str | None:
    """Return the id that a request's answer carries, None where the request is refused for what it sent as its id."""
    try:
        refuse_card_number_in_header("X-Request-ID", given)
    except Problem:
        return None
    return _request_id(given)


def _headers_of(answer: ASGIApp) -> ASGIApp:
    """Return an app that answers HEAD: the same status and headers without the body, however long that would be.

    A stream's body never ends. It would block the connection, on which a proxy sends another client's request next.
    """

    async def answer_head(scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def send_head(message: Message) -> None:
            nonlocal answered
            if answered or message["type"] != "http.response.start":
                return
            answered = True
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            sending.reschedule(asyncio.get_running_loop().time())  # nobody reads what follows

        sending = asyncio.timeout(None)
        try:
            async with sending:
                await answer(scope, receive, send_head)
        except TimeoutError:
            if not sending.expired():
                raise

    return answer_head
