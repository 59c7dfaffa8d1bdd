"""POST /sagas/{id}/read-token: what a shop's own server gives a browser, so that it can follow its checkout."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of
from app.api.http.json_encoding import Body, encode
from app.api.http.parameters import SagaId
from app.api.http.strict_route import StrictRoute
from app.api.middleware.credentials import READ_PARAMETER, bearer_of
from app.api.middleware.proxies.base_path import link
from app.api.middleware.route_rights import requires
from app.api.openapi.responses import operation_id, problems
from app.api.problems.problem import Problem
from app.api.schemas.outcome import saga_url, with_timeout

router = APIRouter(generate_unique_id_function=operation_id, tags=["sagas"], route_class=StrictRoute)


@dataclass(frozen=True, kw_only=True)
class ReadTokenBody(Body):
    """A token that reads one saga, and the addresses to use it at."""

    token: Annotated[str | None, Field(description="null where the service has no keys, and none is needed.")]
    expires_at: datetime | None
    saga_url: Annotated[str, Field(description="Where the saga is read, with the token.")]
    events_url: Annotated[str, Field(description="Where its events are followed, with the token.")]


@router.post(
    "/sagas/{saga_id}/read-token",
    status_code=201,
    response_model=ReadTokenBody,
    response_description="The token.",
    openapi_extra=problems("not_found", "invalid_query"),
)
@requires(Scope.READ)
async def issue_read_token(request: Request, saga_id: SagaId) -> Response:
    """Get a short-lived token that reads this saga and nothing else, to give to a browser.

    It ends after CHECKOUT_READ_TOKEN_SECONDS, and with the key that asked for it. An EventSource sends no
    header, so the token goes into the URL; or send it as `Authorization: Bearer`.
    """
    service = service_of(request)
    reading = service.reader.get(saga_id, caller=caller_of(request))
    if await with_timeout(reading, settings_of(request).storage_timeout_seconds) is None:
        raise Problem("not_found")
    key = bearer_of(request.scope)
    token = None
    if key is not None and caller_of(request).key_id is not None and service.read_tokens is not None:
        token = await service.read_tokens.issue(key, saga_id)
        if token is None:  # the key has ended a moment ago
            raise Problem("unauthenticated")
    url = saga_url(saga_id)
    behind = f"?{urlencode({READ_PARAMETER: token.text})}" if token else ""
    body = ReadTokenBody(
        token=token.text if token else None,
        expires_at=token.expires_at if token else None,
        saga_url=url + behind,
        events_url=link(f"/sagas/{saga_id}/events{behind}"),
    )
    return Response(encode(body), 201, {"Cache-Control": "no-store"}, "application/json")
