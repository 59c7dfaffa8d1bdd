"""A saga's trail as server-sent events: what happened so far, then live until it is finished."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.access.scopes import Scope as Right
from app.api.context import caller_of, service_of, settings_of
from app.api.http import query
from app.api.http.json_encoding import encode
from app.api.http.saga_id import known_form
from app.api.middleware.route_rights import requires
from app.api.problems.problem import Problem
from app.api.schemas.outcome import with_timeout
from app.api.schemas.saga_body import trail_line
from app.operations.event_streams import SagaStream
from app.operations.subscribers import TooManySubscribers
from app.saga.model.events import TrailEntry

router = APIRouter(tags=["sagas"])

RETRY_MS = 2000
_SEQ = re.compile(r"[0-9]{1,9}")
_BEGIN = f"retry: {RETRY_MS}\n\n".encode()
_HEARTBEAT = b": still here\n\n"
_END = b"event: end\ndata: {}\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def frame_of(event: TrailEntry) -> bytes:
    """Return an event as one frame of a stream: its seq as id, its word, its line of the trail."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.seq,
        str(event.type).encode(),
        encode(trail_line(event)),
    )


@router.get("/sagas/{saga_id}/events")
@requires(Right.READ, read_token=True)
async def watch_saga(request: Request, saga_id: str) -> Response:
    """Follow one saga: the trail so far, then each event as it becomes durable; `end` once it is finished.

    Whoever was cut off goes on behind `Last-Event-ID`, at any replica. A saga that needs attention isn't
    finished: its stream goes on when a person has acted.
    """
    service, settings = service_of(request), settings_of(request)
    after = _after(request)
    view = await with_timeout(
        service.reader.get(known_form(saga_id), caller=caller_of(request)),
        settings.storage_patience_seconds,
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


class _Stream(StreamingResponse):
    """One watcher's answer; its place among the watchers is given back however it ends, begun or not."""

    def __init__(
        self, place: ExitStack, following: AsyncIterator[Sequence[bytes]], watched: SagaStream
    ) -> None:
        super().__init__(_frames(following, watched), headers=_HEADERS, media_type="text/event-stream")
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)


async def _frames(following: AsyncIterator[Sequence[bytes]], watched: SagaStream) -> AsyncIterator[bytes]:
    yield _BEGIN
    async for frames in following:
        yield b"".join(frames) or _HEARTBEAT
    if watched.ended:
        yield _END


def _after(request: Request) -> int:
    """Return the seq behind which the stream begins: the header's, or the parameter's where there is no header."""
    given = query.parameters(request, ("last_event_id",)).get("last_event_id", "")
    value = (request.headers.get("last-event-id") or given).strip() or "0"
    if not _SEQ.fullmatch(value):
        raise Problem("invalid_last_event_id", "It is the id of an event of this stream: a whole number.")
    return int(value)
