"""A saga's trail as server-sent events: what happened so far, then live until it is finished."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.access.scopes import Scope as Right
from app.api.context import caller_of, service_of, settings_of
from app.api.http.event_stream import BEGIN, HEARTBEAT, EventStream
from app.api.http.json_encoding import encode
from app.api.http.parameters import LastEventId, SagaId
from app.api.http.strict_route import StrictRoute
from app.api.middleware.route_rights import requires
from app.api.openapi.responses import operation_id, problems
from app.api.problems.problem import Problem
from app.api.schemas.outcome import with_timeout
from app.api.schemas.saga_json import trail_line
from app.operations.event_streams import SagaStream
from app.operations.subscribers import TooManySubscribers
from app.saga.model.events import TrailEntry

router = APIRouter(generate_unique_id_function=operation_id, tags=["sagas"], route_class=StrictRoute)

_SEQ = re.compile(r"[0-9]{1,9}")
_END = b"event: end\ndata: {}\n\n"


def frame_of(event: TrailEntry) -> bytes:
    """Return an event as one frame of a stream: its seq as id, its word, its line of the trail."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.seq,
        str(event.type).encode(),
        encode(trail_line(event)),
    )


@router.get(
    "/sagas/{saga_id}/events",
    status_code=200,
    response_class=EventStream,
    response_description=(
        "Server-sent events: `id` is the seq, `event` the trail's word, `data` the trail's line as JSON; a comment "
        "as heartbeat; `event: end` once the saga is finished."
    ),
    openapi_extra=problems(
        "not_found", "invalid_last_event_id", "invalid_query", "too_many_watchers", "shutting_down"
    ),
)
@requires(Right.READ, read_token=True)
async def watch_saga(
    request: Request,
    saga_id: SagaId,
    last_event_id: Annotated[
        str | None,
        WithJsonSchema({"type": "string", "pattern": f"^{_SEQ.pattern}$"}),
        Query(description="As Last-Event-ID, for clients that can't send headers."),
    ] = None,
    last_event_id_header: LastEventId = None,
) -> Response:
    """Follow one saga: the trail so far, then each event as it becomes durable; `end` once it is finished.

    A client that was cut off continues after `Last-Event-ID`, at any replica. A saga that needs attention isn't
    finished: its stream continues once an operator has acted.
    """
    service, settings = service_of(request), settings_of(request)
    after = _after(last_event_id_header or last_event_id)
    view = await with_timeout(
        service.reader.get(saga_id, caller=caller_of(request)),
        settings.storage_timeout_seconds,
    )
    if view is None:
        raise Problem("not_found")
    if after > view.state.seq:
        raise Problem("invalid_last_event_id", f"The trail has {view.state.seq} events so far.")
    if service.streams is None or service.draining.is_set():
        raise Problem("shutting_down")
    place = ExitStack()
    try:
        watched = place.enter_context(service.streams.subscribe(view))
    except TooManySubscribers:
        raise Problem("too_many_watchers") from None
    return _Stream(
        place,
        service.streams.frames(watched, after=after, heartbeat_seconds=settings.heartbeat_seconds),
        watched,
    )


class _Stream(EventStream):
    """The answer of one event stream. Its subscription ends with it, even if it never started."""

    def __init__(
        self, place: ExitStack, following: AsyncIterator[Sequence[bytes]], watched: SagaStream
    ) -> None:
        super().__init__(_frames(following, watched))
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)


async def _frames(following: AsyncIterator[Sequence[bytes]], watched: SagaStream) -> AsyncIterator[bytes]:
    yield BEGIN
    async for frames in following:
        yield b"".join(frames) or HEARTBEAT
    if watched.ended:
        yield _END


def _after(last_event_id: str | None) -> int:
    """Return the seq after which the stream begins."""
    value = (last_event_id or "").strip() or "0"
    if not _SEQ.fullmatch(value):
        raise Problem("invalid_last_event_id", "It is the id of an event of this stream: a whole number.")
    return int(value)
