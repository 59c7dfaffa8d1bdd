"""One service of the sandbox over HTTP, as app/gateway/contract/services.yaml describes it.

It serves that contract as `GET /openapi.yaml` and `GET /docs`. Besides, it answers `GET /livez`,
`GET /records?after=seq` and `GET /standing`, so that a checker can compare what the services know with
what the sagas say.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from urllib.parse import unquote

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from app.gateway.answer import Answer
from app.gateway.contract import SERVICES_YAML
from app.gateway.port import JsonObject, Participant
from app.saga.model.step import JSON
from app.sandbox.faults import SimulationError
from app.sandbox.request import Refusal, Request, Verb, problem
from app.sandbox.sandbox import Sandbox

_METHODS = ["GET", "PUT", "DELETE", "POST", "PATCH", "HEAD", "OPTIONS"]


def sandbox_app(
    service: Participant,
    sandbox: Sandbox,
    *,
    hang_seconds: float = 30.0,
    max_body_bytes: int = 1 << 20,
) -> FastAPI:
    """Return the service as an ASGI application, which closes the sandbox when it ends.

    Where the sandbox keeps silent, the application does until the client goes, at most for
    `hang_seconds`; then it answers 504.
    """

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await sandbox.aclose()

    app = FastAPI(title=f"Sandbox {service}", openapi_url=None, lifespan=life)

    @app.get("/livez")
    async def livez() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/openapi.yaml")
    async def contract() -> Response:
        return Response(SERVICES_YAML, media_type="application/yaml")

    @app.get("/docs")
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(openapi_url="openapi.yaml", title="The services' contract")

    @app.get("/records")
    async def records(after: int = 0) -> Response:
        return JSONResponse([asdict(record) for record in await sandbox.ledger.records(after=after)])

    @app.get("/standing")
    async def states() -> Response:
        return JSONResponse([asdict(states) for states in await sandbox.ledger.states()])

    @app.api_route("/{path:path}", methods=_METHODS)
    async def resource(http: HttpRequest) -> Response:
        try:
            request = await _read(http, service, max_body_bytes)
            answer = await sandbox.handle(request, simulate=http.headers.get("x-simulate"))
        except Refusal as refusal:
            return _response(refusal.answer)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it, and nothing was done
        except SimulationError as error:
            return _response(problem(400, "bad_simulation", str(error)))
        if answer is None:
            await _until_gone(http, hang_seconds)
            answer = problem(504, "timeout", "The service kept silent.")
        return _response(answer)

    return app


async def _read(http: HttpRequest, service: Participant, max_body_bytes: int) -> Request:
    """Return the request; raise `Refusal` saying what is wrong with it."""
    # The path as it was sent: a "/" within a reference comes quoted, and routing would unquote it.
    raw: bytes = http.scope.get("raw_path") or http.scope["path"].encode()
    segments = [unquote(segment) for segment in raw.decode("ascii", "replace").split("?")[0].split("/")[1:]]
    if not 2 <= len(segments) <= 3 or segments[0] != service.resource:
        raise Refusal(404, "no_such_path", f"This service keeps /{service.resource}/{{reference}}.")
    captures = service is Participant.PAYMENT and segments[2:] == ["capture"]
    if segments[2:] and not captures:
        raise Refusal(404, "no_such_path", f"This service keeps /{service.resource}/{{reference}}.")
    verbs = {"PUT": Verb.CAPTURE} if captures else {"PUT": Verb.PUT, "DELETE": Verb.DELETE, "GET": Verb.GET}
    verb = verbs.get(http.method)
    if verb is None:
        raise Refusal(405, "method_not_allowed", f"Use {', '.join(verbs)}.")
    if not re.fullmatch(r"[^\0\ud800-\udfff]{1,64}", segments[1], re.DOTALL):
        raise Refusal(400, "invalid_reference", "The reference must be 1 to 64 characters.")
    content = await _content(http, max_body_bytes)
    return Request(
        service=service,
        verb=verb,
        reference=segments[1],
        idempotency_key=http.headers.get("idempotency-key", ""),
        body=_json(http, content) if verb is Verb.PUT else None,
    )


async def _content(http: HttpRequest, max_body_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in http.stream():
        content += chunk
        if len(content) > max_body_bytes:
            raise Refusal(413, "body_too_large", f"A body may have {max_body_bytes} bytes.")
    return bytes(content)


def _json(http: HttpRequest, content: bytes) -> JsonObject:
    media_type = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(415, "not_json", "Send application/json.")
    try:
        body: JSON = json.loads(content.decode("utf-8"), parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise Refusal(400, "malformed_json", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Refusal(400, "invalid_request", "The body must be an object.")
    return body


def _not_json(constant: str) -> JSON:
    raise ValueError(f"{constant} is not JSON")


async def _until_gone(http: HttpRequest, seconds: float) -> None:
    """Wait until the client has hung up, at most for so long. The body has been read: only that can come."""
    try:
        async with asyncio.timeout(seconds):
            while (await http.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


def _response(answer: Answer) -> Response:
    media_type = "application/json" if answer.status < 400 else "application/problem+json"
    return JSONResponse(answer.document, status_code=answer.status, media_type=media_type)
