"""Server-sent events (HTML, 9.2): what every stream of this service has in common.

FastAPI's `EventSourceResponse` sends comments of its own at an interval of its own and answers 200 before the first
event is asked for; here a stream is refused with a problem, and an event is encoded once for all who follow it
(docs/adr/0025-kept-by-hand.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterable

from starlette.responses import StreamingResponse

RETRY_MS = 2000
"""After how long a client connects again."""

BEGIN = f"retry: {RETRY_MS}\n\n".encode()
HEARTBEAT = b": still here\n\n"


class EventStream(StreamingResponse):
    """Frames as they come; no proxy keeps or buffers them."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterable[bytes]) -> None:
        super().__init__(frames, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
