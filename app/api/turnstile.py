"""The turnstile: a checkout too many is turned away before the framework looks at it.

To be routed and raised as a problem costs the process a seventh of what a checkout does. At several times
what it can do, its refusals would then leave it half its time for those it took (`make bench-knee`).

Whatever isn't plainly a checkout is let through, as is everything while there is room: the route's own
admission is what holds the limit.
"""

from __future__ import annotations

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.admission import Admission
from app.api.problem import Problem
from app.api.service import Service


class Turnstile:
    """Wraps the routes, inside of who asks and of what every answer has. `route` is what checkouts are counted under."""

    def __init__(self, app: ASGIApp, *, admission: Admission, route: BaseRoute) -> None:
        self._app = app
        self._admission = admission
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._full(scope)
        if service is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        if service.metrics is not None:
            service.metrics.refused("over_capacity")
        await Problem("over_capacity").response(scope["state"]["request_id"])(scope, receive, send)

    def _full(self, scope: Scope) -> Service | None:
        """Return the service where this is a checkout that it has no room for."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != "/checkout":
            return None
        if scope["query_string"]:  # it may be a dry run, which needs no room
            return None
        service: Service | None = getattr(scope["app"].state, "service", None)
        if service is None or service.draining.is_set() or not self._admission.full(service):
            return None
        return service
