"""Whatever a client may write takes no longer to read than it is long, up to its limit and beyond.

Eight times as much of it takes about eight times as long, or less; where a parser goes back over what it has read, it
would be sixty-four. Time is the process's own, the best of a few, and three times what it should be is let pass.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import process_time
from urllib.parse import parse_qs

import pytest
from prometheus_client.exposition import choose_encoder
from pydantic import TypeAdapter
from starlette.requests import Request

from app.access.keys import _KEY
from app.api.http.headers.etag import matches
from app.api.http.headers.idempotency import idempotency_key
from app.api.http.headers.prefer import preference
from app.api.http.headers.simulation import simulation
from app.api.http.json_body import check_headers, parse
from app.api.http.parameters import Name, instant, known_form, saga_before
from app.api.http.strict_route import check_query
from app.api.middleware.credentials import _BEARER, session_of, take_read_token
from app.api.middleware.proxies.forwarded import forwarded_prefix, through_proxy
from app.api.middleware.proxies.loopback import from_outside
from app.api.middleware.request_context import _request_id
from app.api.middleware.route_rights import RouteRights
from app.api.problems.problem import Problem
from app.api.routes import sagas, webhooks
from app.api.routes.events import _after
from app.dashboard.guard import MOST_FIELDS
from app.telemetry.trace_context import accepted_traceparent
from app.values.card_numbers import holds_card_number

SMALL, TIMES, SLACK = 4_000, 8, 3
SHORTEST = 0.000_5
"""Seconds; below it a clock says nothing."""


def a_request(query: str = "", **headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": query.encode("latin-1"),
        "headers": named,
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    return Request(scope)


NAME: TypeAdapter[str | None] = TypeAdapter(Name)
RIGHTS = RouteRights([*sagas.router.routes, *webhooks.router.routes])
PARSERS: dict[str, Callable[[str], object]] = {
    "Prefer": lambda given: preference([given]),
    "Idempotency-Key": lambda given: idempotency_key([given], required=True),
    "X-Simulate": lambda given: simulation([given], allowed=True),
    "Authorization": _BEARER.fullmatch,
    "a key": _KEY.fullmatch,
    "Cookie": lambda given: session_of(a_request(cookie=given).scope),
    "traceparent": lambda given: accepted_traceparent([given]),
    "If-None-Match": lambda given: matches([given], '"1-a"'),
    "Content-Type": lambda given: check_headers(a_request(content_type=given), max_bytes=1),
    "Content-Encoding": lambda given: check_headers(
        a_request(content_type="application/json", content_encoding=given), max_bytes=1
    ),
    "Content-Length": lambda given: check_headers(
        a_request(content_type="application/json", content_length=given), max_bytes=1
    ),
    "Accept": choose_encoder,
    "X-Request-ID": lambda given: _request_id([given]),
    "Host": lambda given: from_outside(a_request(host=given).scope),
    "X-Forwarded-Prefix": lambda given: forwarded_prefix(a_request(x_forwarded_prefix=given).scope),
    "Forwarded": lambda given: through_proxy(a_request(forwarded=given).scope),
    "Last-Event-ID": _after,
    "a path": lambda given: RIGHTS.find("GET", f"/{given}"),
    "a saga's id": known_form,
    "a read token": lambda given: take_read_token(a_request(given).scope),
    "a query": lambda given: check_query(a_request(given), ("a",)),
    "a text of a query": NAME.validate_python,
    "a time of a query": instant,
    "a cursor": saga_before,
    "a form": lambda given: parse_qs(given, strict_parsing=True, max_num_fields=MOST_FIELDS),
    "a body": lambda given: parse(given.encode("latin-1")),
    "a card number": holds_card_number,
}
PARTS = ["a", "1", "4242", "4 ", "-", " ", "\t", '"', "\\", '\\"', ",", ";", "=", "a=", "a=1,", "a;b=", "&", "a=b&", "%", "%41", "/", "//", "[", '{"a":', '"a', "0.", "1e1", "ck_a", 'W/"', ":", "@", ".", "a.b", "_", "\xe9"]  # fmt: skip


def seconds(read: Callable[[str], object], given: str) -> float:
    """Return the least that it takes to read this a few times."""
    least = 1e9
    for _ in range(3):
        began = process_time()
        with suppress(Problem, ValueError):
            read(given)
        least = min(least, process_time() - began)
    return least


@pytest.mark.parametrize("name", PARSERS)
def test_it_takes_no_longer_than_it_is_long(name: str) -> None:
    read = PARSERS[name]
    for part in PARTS:
        for begin in ("", '"', "Bearer ", "checkout_session=", '{"a":"'):
            small, large = (
                begin + (part * (size // len(part) + 1))[:size] for size in (SMALL, SMALL * TIMES)
            )
            took = seconds(read, large)
            if took > SHORTEST:
                most = SLACK * TIMES * max(seconds(read, small), SHORTEST / TIMES)
                assert took < most, f"{begin}{part} … takes {took * 1000:.1f} ms"
