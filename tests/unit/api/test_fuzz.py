"""Whatever is sent, the answer is one that the API's description has, and never the server's fault."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api import ApiSettings
from tests.unit.api.served import DESCRIPTION, Served, an_order, served

OPERATIONS = schemathesis.openapi.from_dict(DESCRIPTION)
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3), max_leaves=8
)
header = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)
paths = st.sampled_from([
    ("order_id",), ("currency",), ("items",), ("items", 0), ("items", 0, "quantity"), ("items", 0, "unit_price"),
    ("items", 0, "sku"), ("shipping_address",), ("shipping_address", "line2"), ("metadata",), ("metadata", "x"),
    ("surplus",),
])  # fmt: skip


async def answered(api: Served, content: bytes, headers: dict[str, str] | None = None) -> int:
    """Send it and return the status; the harness holds the answer against the description."""
    named = {b"Content-Type": b"application/json"} | {
        name.encode(): value.encode("latin-1") for name, value in (headers or {}).items()
    }
    answer = await api.client.post("/checkout", content=content, headers=list(named.items()))
    assert answer.status_code < 500, answer.text
    if answer.status_code not in {200, 201, 202}:
        assert not api.log.ids, "something was stored"
    return answer.status_code


@PATIENT
@given(
    content=st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
async def test_any_bytes(content: bytes) -> None:
    async with served() as api:
        assert await answered(api, content) in {400, 422}


@PATIENT
@given(path=paths, value=values)
async def test_an_order_with_anything_in_one_place(path: tuple[str | int, ...], value: Any) -> None:
    order: Any = an_order()
    place = order
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    async with served() as api:
        assert await answered(api, json.dumps(order).encode()) in {201, 400, 422}


@PATIENT
@given(
    headers=st.dictionaries(
        st.sampled_from([
            "Prefer", "Idempotency-Key", "Content-Type", "Content-Encoding", "X-Request-ID", "traceparent", "X-Simulate",
        ]),
        header,
    )
)  # fmt: skip
async def test_an_order_with_any_headers(headers: dict[str, str]) -> None:
    async with served(ApiSettings(simulate_allowed=True)) as api:
        assert await answered(api, json.dumps(an_order()).encode(), headers) in {201, 202, 400, 415}


described = st.one_of(
    [
        OPERATIONS[path][method].as_strategy()
        for path, method in (
            ("/checkout", "POST"),
            ("/sagas", "GET"),
            ("/sagas/{saga_id}", "GET"),
            *((f"/sagas/{{saga_id}}/{action}", "POST") for action in ("cancel", "retry", "resolve")),
        )
    ]
)


@PATIENT
@given(case=described)
async def test_what_the_description_allows_is_answered_as_it_says(case: schemathesis.Case[Any]) -> None:
    sent = case.as_transport_kwargs(base_url="http://checkout.test")
    headers = {**sent["headers"], "Content-Type": "application/json"}
    content = json.dumps(sent["json"]).encode() if "json" in sent else None
    async with served(ApiSettings(max_wait_seconds=0, simulate_allowed=True)) as api:
        answer = await api.client.request(
            sent["method"], sent["url"], params=sent.get("params"), headers=headers, content=content
        )
        assert answer.status_code < 500, answer.text
