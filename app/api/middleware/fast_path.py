"""The fast path of `POST /checkout` and `GET /sagas/{id}`: straight to their endpoints.

The framework's routing would cost a tenth of a checkout's processor time, and more than reading a finished saga.

The framework has the same routes, for their description and for anything that isn't plainly one of these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.context import caller_of
from app.api.http.headers.fields import lines_of
from app.api.http.parameters import is_saga_id
from app.api.middleware.route_rights import authorize, rights_of
from app.api.problems.handlers import ANSWERED, answer

_SAGAS = "/sagas/"


class FastPath:
    """Wraps the routes, inside the other middleware; `place` is the checkout's, `read` that of one saga."""

    def __init__(self, app: ASGIApp, *, place: APIRoute, read: APIRoute) -> None:
        self._app = app
        self._place = place
        self._read = read
        self._read_rights = rights_of(read)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoint(scope) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request)
        except ANSWERED as error:
            response = await answer(request, error)
        await response(scope, receive, send)

    def _endpoint(self, scope: Scope) -> Callable[[Request], Awaitable[Response]] | None:
        """Return what answers a request that is plainly for one of the routes, and put that route into its scope."""
        method, path = scope["method"], scope["path"]
        if method == "POST" and path == self._place.path:
            scope["route"] = self._place
            return self._place.endpoint
        if method != "GET" or scope["query_string"] or not path.startswith(_SAGAS):
            return None
        if not is_saga_id(path[len(_SAGAS) :]):
            return None
        scope["route"] = self._read
        return self._read_saga

    async def _read_saga(self, request: Request) -> Response:
        authorize(caller_of(request), self._read_rights)
        scope = request.scope
        response: Response = await self._read.endpoint(
            request,
            scope["path"][len(_SAGAS) :],
            lines_of(scope, b"prefer"),
            lines_of(scope, b"if-none-match"),
        )
        return response
