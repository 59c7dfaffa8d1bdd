"""HEAD is GET without the body, on every route, and the connection is good for the next request: a proxy keeps it for others."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from fastapi.routing import APIRoute
from starlette.routing import Route

from app.bootstrap.http_app import create_app
from tests.processes import a_checkout, an_order

STUCK = {"X-Simulate": "shipping.execute=rejected, payment.compensate=not_reversible"}
VARIES = {"date", "x-request-id", "transfer-encoding"}
STREAMS = ("/sagas/{saga_id}/events", "/dashboard/live")


def paths() -> Iterator[str]:
    """Yield the path of each route that answers GET."""
    for top in create_app(lambda: nullcontext(None)).routes:  # type: ignore[arg-type]
        included = getattr(top, "original_router", None)
        for route in [top] if included is None else included.routes:
            if isinstance(route, Route | APIRoute) and "GET" in (route.methods or ()):
                yield route.path


def test_head_on_every_route_leaves_the_connection_good(tmp_path: Path, sqlite_url: str) -> None:
    """With a saga that waits for a person, whose stream therefore never ends."""
    env = {
        "DATABASE_URL": sqlite_url,
        "SANDBOX_DATABASE": str(tmp_path / "sandbox.db"),
        "CHECKOUT_COMPENSATION_MAX_ATTEMPTS": "1",
    }
    with ExitStack() as stack, a_checkout(env, tmp_path / "log") as server:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port or 0, timeout=60)
        stack.callback(connection.close)
        connection.request(
            "POST", "/checkout", json.dumps(an_order("ord-1")), {"Content-Type": "application/json", **STUCK}
        )
        answer = connection.getresponse()
        saga = json.loads(answer.read())
        assert saga["status"] == "needs_attention"
        socket = connection.sock
        asked = list(paths())
        assert set(STREAMS) <= set(asked)
        for path in asked:
            name = "not_found" if path.startswith("/problems/") else "dashboard.css"
            url = path.replace(":path}", "}").format(saga_id=saga["id"], name=name)
            connection.request("HEAD", url)
            head = connection.getresponse()
            assert head.read() == b""
            assert connection.sock is socket, f"HEAD {path} ended the connection"
            if path in STREAMS:
                assert (head.status, head.headers["Content-Type"]) == (
                    200,
                    "text/event-stream; charset=utf-8",
                )
                continue
            connection.request("GET", url)
            whole = connection.getresponse()
            assert (head.status, _settled(head)) == (whole.status, _settled(whole)), path
            assert head.status == 200, path
            assert whole.read()


def _settled(answer: http.client.HTTPResponse) -> set[str]:
    """Return the headers' names, without those that an answer's way decides."""
    return {name.lower() for name in answer.headers} - VARIES
