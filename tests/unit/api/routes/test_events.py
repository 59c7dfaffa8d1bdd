"""GET /sagas/{id}/events: a saga's trail as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from app.api.routes.events import frame_of
from app.operations.event_streams import EventStreams
from app.saga import StepRejected
from tests.builders import an_id
from tests.unit.api.served import Served, problem, served


@asynccontextmanager
async def watched(max_subscribers: int = 10, **script: Any) -> AsyncIterator[Served]:
    """Serve with a watch; over ASGI alone an answer comes whole, so only what has ended can be followed."""
    async with served(**script) as api:
        watch = EventStreams(None, frame=frame_of, poll_seconds=3600, max_subscribers=max_subscribers)  # type: ignore[arg-type]
        api.app.state.service = replace(api.service, streams=watch)
        yield api
        assert watch.subscribers == 0
        await watch.stop()


def frames(text: str) -> list[dict[str, str]]:
    """Return each frame's fields."""
    blocks = [block for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


async def test_a_stream_is_the_trail_line_by_line_and_then_ends() -> None:
    """The very lines that GET /sagas/{id} shows."""
    async with watched(shipping=[StepRejected(code="no")]) as api:
        url = (await api.post()).headers["location"]
        trail = (await api.get(url)).json()["trail"]
        answer = await api.get(f"{url}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        first, *lines, last = frames(answer.text)
        assert first == {"retry": "2000"}
        assert [json.loads(line["data"]) for line in lines] == trail
        assert [(line["id"], line["event"]) for line in lines] == [(str(e["seq"]), e["event"]) for e in trail]
        assert last == {"event": "end", "data": "{}"}


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_stream_goes_on_behind_the_last_event_id(by_header: bool) -> None:
    """As a header, or as a parameter for those who can't send one."""
    async with watched() as api:
        url = (await api.post()).headers["location"]
        if by_header:
            answer = await api.get(f"{url}/events", Last_Event_ID="3")
        else:
            answer = await api.get(f"{url}/events?last_event_id=3")
        assert [frame.get("id") for frame in frames(answer.text)] == [None, "4", "5", None]


@pytest.mark.parametrize("given", ["x", "-1", "6", "1.5", "9" * 30])
async def test_a_last_event_id_of_no_event_is_refused(given: str) -> None:
    """A client with the wrong saga's id would wait for ever."""
    async with watched() as api:
        url = (await api.post()).headers["location"]
        problem(await api.get(f"{url}/events", Last_Event_ID=given), 400, "invalid_last_event_id")


async def test_an_unknown_saga_has_no_stream() -> None:
    async with watched() as api:
        problem(await api.get(f"/sagas/{an_id()}/events"), 404, "not_found")
        problem(await api.get("/sagas/x/events"), 404, "not_found")


async def test_one_watcher_too_many_is_told_to_come_back() -> None:
    async with watched(max_subscribers=0) as api:
        url = (await api.post()).headers["location"]
        answer = await api.get(f"{url}/events")
        problem(answer, 503, "too_many_watchers")
        assert answer.headers["retry-after"] == "5"


async def test_a_process_that_stops_begins_no_stream() -> None:
    async with watched() as api:
        url = (await api.post()).headers["location"]
        api.service.draining.set()
        problem(await api.get(f"{url}/events"), 503, "shutting_down")
