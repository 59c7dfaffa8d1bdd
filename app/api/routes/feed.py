"""The feed of how sagas ended, for those who prefer to pull."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import struct
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of, webhooks_of
from app.api.http.headers.prefer import preference
from app.api.http.json_encoding import encode
from app.api.http.parameters import CURSOR, Limit, Prefer, page_limit
from app.api.http.strict_route import StrictRoute
from app.api.middleware.route_rights import requires
from app.api.openapi.responses import headers, operation_id, problems
from app.api.problems.validation import parameter_problem
from app.api.schemas.event_body import EventPageBody, event_json
from app.api.schemas.outcome import with_timeout
from app.storage.outbox.feed import FeedCursor

router = APIRouter(generate_unique_id_function=operation_id, tags=["events"], route_class=StrictRoute)

LOOK_AGAIN_SECONDS = 0.5
_CURSOR = struct.Struct(">qq")


def _cursor(place: FeedCursor) -> str:
    packed = _CURSOR.pack(place.xid, place.position)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _read_cursor(value: str) -> FeedCursor:
    if not value:
        return FeedCursor()
    try:
        if re.fullmatch(r"[A-Za-z0-9_-]{22}", value):
            xid, position = _CURSOR.unpack(base64.urlsafe_b64decode(value + "=="))
            place = FeedCursor(xid=xid, position=position)
            if _cursor(place) == value and min(xid, position) >= 0:
                return place
    except (ValueError, struct.error, binascii.Error):
        pass
    raise parameter_problem("after", "wrong_form", "Give the next of an earlier answer as it was, or none.")


_After = Annotated[str, CURSOR, Query(description="The next of the answer before.")]


@router.get(
    "/events",
    response_model=EventPageBody,
    response_description="Events.",
    responses={200: headers("Preference-Applied")},
    openapi_extra=problems("invalid_query"),
)
@requires(Scope.READ)
async def read_events(
    request: Request, after: _After = "", limit: Limit = "", prefer: Prefer = ()
) -> Response:
    """Read how sagas ended, in an order in which nothing ever appears before a cursor that was handed out.

    Start without `after`, then send each answer's `next` as `after`. With `Prefer: wait=N` an answer
    without events comes only after N seconds.
    """
    service, settings, webhooks = service_of(request), settings_of(request), webhooks_of(request)
    place, size = _read_cursor(after), page_limit(limit, settings)
    caller = caller_of(request)
    preferred = preference(prefer)
    loop = asyncio.get_running_loop()
    until = loop.time() + preferred.seconds(0, at_most=settings.max_wait_seconds)
    while True:
        reading = webhooks.events(caller, place, limit=size + 1)
        items = await with_timeout(reading, settings.storage_timeout_seconds)
        left = until - loop.time()
        if items or left <= 0 or service.closing.is_set():
            break
        try:
            async with asyncio.timeout(min(left, LOOK_AGAIN_SECONDS)):
                await service.closing.wait()
        except TimeoutError:
            pass
    page = items[:size]
    body = {
        "data": [event_json(one) for one in page],
        "next": _cursor(page[-1].cursor if page else place),
        "more": len(items) > size,
    }
    answered = {"Cache-Control": "private, no-cache"}
    if preferred.wait is not None:
        answered |= preferred.applied(at_most=settings.max_wait_seconds, can_go_on=False)
    return Response(encode(body), headers=answered, media_type="application/json")
