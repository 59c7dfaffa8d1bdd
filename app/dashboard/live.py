"""The page's stream of changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import service_of, settings_of
from app.api.http.event_stream import BEGIN, HEARTBEAT, EventStream
from app.api.http.strict_route import StrictRoute
from app.api.middleware.route_rights import requires
from app.api.problems.problem import Problem
from app.operations.subscribers import TooManySubscribers

router = APIRouter(include_in_schema=False, route_class=StrictRoute)


@router.get("/dashboard/live", response_class=EventStream)
@requires(Scope.READ)
async def live(request: Request, since: str | None = None) -> Response:
    """Send an event whenever something in the list has changed."""
    service, settings = service_of(request), settings_of(request)
    if service.changes is None or service.draining.is_set():
        raise Problem("shutting_down")
    changes = service.changes.changes(heartbeat_seconds=settings.heartbeat_seconds, since=since)
    return EventStream(_frames(changes))


async def _frames(changes: AsyncIterator[int | None]) -> AsyncIterator[bytes]:
    yield BEGIN
    try:
        async for change in changes:
            yield HEARTBEAT if change is None else b"event: moved\ndata: %d\n\n" % change
    except TooManySubscribers:
        yield b"event: full\ndata: {}\n\n"
