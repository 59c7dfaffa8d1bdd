"""The port over HTTP: a service that speaks app/gateway/contract/services.yaml.

Every fault becomes an instruction. One fact decides which: had any of the request left this process?

    slot in the bulkhead ─ connect ─ TLS │ request ─ answer's head ─ answer's body
    ◀── StepUnavailable: nothing was sent │ StepOutcomeUnknown: it may have happened ──▶

One deadline covers all of it. One call is one request: nothing is repeated here, by aiohttp neither
(`one_request`). No redirect is followed, no cookie kept, no proxy taken from the environment, nothing
decompressed. The addresses of a name are tried side by side (happy eyeballs), as aiohttp does by itself.
A call takes a fraction of httpx2's CPU time: ADR 11. What each client does by itself: ADR 15.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import aiohttp
from yarl import URL

from app.gateway.answer import Answer, compensated, done, found, unusable
from app.gateway.http_answer import read
from app.gateway.one_request import Attempt, one_attempt, one_request_session
from app.gateway.port import Call, JsonObject, ResourceOwner
from app.saga.model.errors import FailureKind, StepError, StepOutcomeUnknown, StepUnavailable
from app.saga.model.step import Closed
from app.settings.service_url import checked_base_url, checked_bearer_token
from app.telemetry.trace_context import traceparent_for


class HttpGateway:
    """One service at one base URL, with connections of its own.

    `timeout` is the seconds of a whole call; keep it below the step's own, so that the answer is the
    gateway's, which knows whether anything was sent. `max_connections` calls run at once; a further
    one waits its turn within its own `timeout`. An answer above `max_body_bytes` is not read.
    `forward_simulate` passes X-Simulate on: for a sandbox alone. `traced` returns the traceparent of the step
    that makes the call, where this process traces it.
    """

    def __init__(
        self,
        service: ResourceOwner,
        base_url: str,
        *,
        timeout: float = 5.0,
        max_connections: int = 128,
        max_body_bytes: int = 1 << 20,
        bearer_token: str | None = None,
        forward_simulate: bool = False,
        verify: ssl.SSLContext | bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_span_id: Callable[[], str] = lambda: secrets.token_hex(8),
        traced: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Raise `ValueError` in a full sentence for a URL or a token that can't be used."""
        self._base_url = f"{checked_base_url(base_url)}/{service.resource}"
        self._timeout = timeout
        self._max_body_bytes = max_body_bytes
        self._forward_simulate = forward_simulate
        self._now = now
        self._new_span_id = new_span_id
        self._traced = traced
        self._slots = asyncio.Semaphore(max_connections)
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "checkout",
        }
        if bearer_token:
            self._headers["authorization"] = f"Bearer {checked_bearer_token(bearer_token)}"
        self._verify = verify
        self._max_connections = max_connections
        self._opened: aiohttp.ClientSession | None = None

    async def put(self, call: Call, body: JsonObject) -> JsonObject:
        return done(await self._ask("PUT", call, body=body))

    async def delete(self, call: Call) -> JsonObject:
        return compensated(await self._ask("DELETE", call))

    async def get(self, call: Call) -> JsonObject | Closed | None:
        return found(await self._ask("GET", call))

    async def capture(self, call: Call) -> JsonObject:
        return done(await self._ask("PUT", call, below="/capture"))

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def _ask(
        self, method: str, call: Call, *, below: str = "", body: JsonObject | None = None
    ) -> Answer:
        """Send one request and return its answer. The one seam where foreign exceptions are translated."""
        with one_attempt() as attempt:
            return await self._sent(attempt, method, call, below, body)

    async def _sent(
        self, attempt: Attempt, method: str, call: Call, below: str, body: JsonObject | None
    ) -> Answer:
        try:
            url = URL(f"{self._base_url}/{quote(call.reference, safe='')}{below}", encoded=True)
            async with (
                asyncio.timeout(self._timeout),
                self._slots,
                self._session().request(
                    method,
                    url,
                    headers=self._headers_of(call, body),
                    data=None if body is None else _encoded(body),
                    allow_redirects=False,
                ) as response,
            ):
                attempt.answered = True
                content = await self._read(response)
        except Exception as error:
            raise _translated(error, attempt) from error
        return read(response.status, response.headers, content, now=self._now())

    def _session(self) -> aiohttp.ClientSession:
        """Return the connections; they belong to the event loop in which the first call is made."""
        if self._opened is None:
            self._opened = one_request_session(verify=self._verify, max_connections=self._max_connections)
        return self._opened

    def _headers_of(self, call: Call, body: JsonObject | None) -> Mapping[str, str]:
        headers = {
            **self._headers,
            "idempotency-key": call.idempotency_key,
            "traceparent": self._traced()
            or traceparent_for(call.traceparent, call.reference, span_id=self._new_span_id()),
        }
        if body is not None:
            headers["content-type"] = "application/json"
        if self._forward_simulate and call.simulate:
            headers["x-simulate"] = call.simulate
        return headers

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > self._max_body_bytes:
                return None
        return bytes(content)


def _translated(error: Exception, attempt: Attempt) -> StepError:
    """Return the instruction that an exception amounts to.

    It names the exception's type and never its text, which may hold an address or a header.
    """
    if not attempt.sent:
        return StepUnavailable(f"The service was not reached ({type(error).__name__}); nothing was sent.")
    if isinstance(error, TimeoutError):
        return StepOutcomeUnknown(
            "The service did not answer in time.", code="timeout", kind=FailureKind.TIMEOUT
        )
    if attempt.answered:
        return unusable(f"The service's answer broke off ({type(error).__name__}).")
    return StepOutcomeUnknown(
        f"The connection broke before an answer came ({type(error).__name__}).",
        code="connection_broken",
        kind=FailureKind.UNAVAILABLE,
    )


def _encoded(body: JsonObject) -> bytes:
    """Return the same bytes for the same body, however the log had ordered its members."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
