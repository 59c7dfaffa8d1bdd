"""The feed of how sagas ended, for those who prefer to pull."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import struct

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of, webhooks_of
from app.api.http import query
from app.api.http.json_encoding import encode
from app.api.http.prefer import preference
from app.api.middleware.route_rights import requires
from app.api.problems.problem import Problem
from app.api.schemas.event_body import EventPageBody, event_body
from app.api.schemas.outcome import with_timeout
from app.storage.outbox.feed import FeedCursor

router = APIRouter(tags=["events"])

LOOK_AGAIN_SECONDS = 0.5
_PLACE = struct.Struct(">qq")


@router.get("/events")
@requires(Scope.READ)
async def read_events(request: Request) -> Response:
    """Read how sagas ended, in an order in which nothing ever appears before a cursor that was handed out.

    Begin without `after`, then send each answer's `next` as `after`. With `Prefer: wait=N` an answer
    without events comes only after N seconds.
    """
    service, settings, webhooks = service_of(request), settings_of(request), webhooks_of(request)
    found = query.parameters(request, ("after", "limit"))
    after = _place(found.get("after"))
    limit = query.count(found, "limit", otherwise=settings.page_size, at_most=settings.max_page_size)
    caller = caller_of(request)
    if not caller.has_scope(Scope.READ):
        raise Problem("forbidden")
    prefer = preference(request.headers.getlist("prefer"))
    loop = asyncio.get_running_loop()
    until = loop.time() + prefer.seconds(0, at_most=settings.max_wait_seconds)
    while True:
        reading = webhooks.events(caller, after, limit=limit + 1)
        told = await with_timeout(reading, settings.storage_patience_seconds)
        left = until - loop.time()
        if told or left <= 0 or service.closing.is_set():
            break
        try:
            async with asyncio.timeout(min(left, LOOK_AGAIN_SECONDS)):
                await service.closing.wait()
        except TimeoutError:
            pass
    page = told[:limit]
    body = EventPageBody(
        data=[event_body(one) for one in page],
        next=_cursor(page[-1].cursor if page else after),
        more=len(told) > limit,
    )
    headers = {"Cache-Control": "private, no-cache"}
    if prefer.wait is not None:
        headers |= prefer.applied(at_most=settings.max_wait_seconds, can_go_on=False)
    return Response(encode(body), headers=headers, media_type="application/json")


def _cursor(place: FeedCursor) -> str:
    packed = _PLACE.pack(place.xid, place.position)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _place(value: str | None) -> FeedCursor:
    if not value:
        return FeedCursor()
    try:
        if re.fullmatch(r"[A-Za-z0-9_-]{22}", value):
            xid, position = _PLACE.unpack(base64.urlsafe_b64decode(value + "=="))
            place = FeedCursor(xid=xid, position=position)
            if _cursor(place) == value and min(xid, position) >= 0:
                return place
    except (ValueError, struct.error, binascii.Error):
        pass
    raise query.wrong("after", "wrong_form", "Give the next of an earlier answer as it was, or none.")
