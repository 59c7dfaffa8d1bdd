"""Server-sent events (HTML, 9.2): what all streams of this service have in common.

FastAPI's `EventSourceResponse` sends its own comments at its own interval, and answers 200 before a stream can be
refused. Here a stream can be refused with a problem, and an event is encoded once for all its followers
(docs/adr/0025-kept-by-hand.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterable

from starlette.responses import StreamingResponse

RETRY_MS = 2000
"""How long a client waits before it reconnects."""

BEGIN = f"retry: {RETRY_MS}\n\n".encode()
HEARTBEAT = b": still here\n\n"


class EventStream(StreamingResponse):
    """A response that sends frames as they come. No proxy stores or buffers them."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterable[bytes]) -> None:
        super().__init__(frames, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
