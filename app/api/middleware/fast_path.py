"""The fast path of `POST /checkout`: it goes straight to its endpoint, and one too many is refused at once.

To be routed and solved by the framework costs the process a tenth of what a checkout does, for a route
that takes nothing but the request; and a seventh to be raised as a problem from in there. At several times
what it can do, its refusals would then leave it half its time for those it took (`make bench-knee`).

The framework has the same route, for its description and for whatever isn't plainly a checkout. While
there is room, the route's own admission is what holds the limit.
"""

from __future__ import annotations

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.context import AppContext
from app.api.middleware.admission import Admission
from app.api.problems.handlers import ANSWERED, answer
from app.api.problems.problem import Problem


class FastPath:
    """Wraps the routes, inside the other middleware; `route` is the checkout's."""

    def __init__(self, app: ASGIApp, *, admission: Admission, route: APIRoute) -> None:
        self._app = app
        self._admission = admission
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != self._route.path:
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        request = Request(scope, receive, send)
        if (service := self._full(scope)) is not None:
            if service.metrics is not None:
                service.metrics.refused("over_capacity")
            response = Problem("over_capacity").response(scope["state"]["request_id"])
        else:
            try:
                response = await self._route.endpoint(request)
            except ANSWERED as error:
                response = await answer(request, error)
        await response(scope, receive, send)

    def _full(self, scope: Scope) -> AppContext | None:
        """Return the service where it has no room for this checkout."""
        if scope["query_string"]:  # it may be a dry run, which needs no room
            return None
        service: AppContext | None = getattr(scope["app"].state, "service", None)
        if service is None or service.draining.is_set() or not self._admission.full(service):
            return None
        return service
