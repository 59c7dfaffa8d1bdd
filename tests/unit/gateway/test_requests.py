"""What the gateway sends to a service, and what it keeps to itself."""

from __future__ import annotations

import pytest

from app.services import Call, GatewayVerb, HttpGateway, Participant
from tests.unit.gateway.asking import BODY, CALL, a_gateway, put
from tests.unit.gateway.network import answering, hostile, response


async def test_a_request_carries_what_the_contract_asks_for() -> None:
    call = Call.to(
        Participant.PAYMENT,
        GatewayVerb.EXECUTE,
        reference="a/b",
        simulate="payment.execute=rejected",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-00",
    )
    async with (
        hostile(answering(response(200, b"{}"))) as server,
        a_gateway(server.url + "/base/", bearer_token="s3cret", forward_simulate=True) as gateway,
    ):
        await gateway.put(call, {"b": 1, "a": "ü"})
    assert server.first_line == "PUT /base/payments/a%2Fb HTTP/1.1"
    assert server.heard[-1].endswith(b'\r\n\r\n{"a":"\\u00fc","b":1}')
    head = server.head
    assert head["idempotency-key"] == "a/b:payment:execute"
    assert head["content-type"] == "application/json"
    assert head["authorization"] == "Bearer s3cret"
    assert head["x-simulate"] == "payment.execute=rejected"
    assert head["traceparent"] == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


async def test_where_the_step_is_traced_here_its_span_is_the_parent() -> None:
    """And outside of a step what the call itself carries."""
    headers = iter(["00-4bf92f3577b34da6a3ce929d0e0e4736-2222222222222222-01", None])
    call = Call.to(Participant.PAYMENT, GatewayVerb.EXECUTE, reference="0193b3c8-0000-7000-8000-000000000001")
    async with (
        hostile(answering(response(200, b"{}"))) as server,
        a_gateway(server.url, traced=lambda: next(headers)) as gateway,
    ):
        await gateway.put(call, {})
        assert server.head["traceparent"].split("-")[2] == "2222222222222222"
        await gateway.put(call, {})
    assert b"traceparent: 00-0193b3c8000070008000000000000001-00f067aa0ba902b7-01" in server.heard[-1].lower()


async def test_the_simulation_stays_here_unless_the_service_is_a_sandbox() -> None:
    async with hostile(answering(response(200, b"{}"))) as server, a_gateway(server.url) as gateway:
        call = Call.to(
            Participant.PAYMENT, GatewayVerb.COMPENSATE, reference="r", simulate="payment.execute=rejected"
        )
        await gateway.delete(call)
    assert "x-simulate" not in server.head
    assert "authorization" not in server.head
    assert server.first_line == "DELETE /payments/r HTTP/1.1"


async def test_a_cookie_is_not_kept() -> None:
    text = response(200, b"{}", headers="Set-Cookie: a=b\r\n")
    async with hostile(answering(text)) as server, a_gateway(server.url) as gateway:
        await gateway.put(CALL, BODY)
        await gateway.put(CALL, BODY)
    assert "cookie" not in server.head


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hostile(answering(response(500))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert await put(answering(response(200, b"{}"))) == {}
    assert proxy.heard == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "payments",
        "ftp://host",
        "http://",
        "http://user:pw@host",
        "http://host?x=1",
        "http://host/#x",
        "http://host:99999",
        "http://ho st",
        "http://host/\n",
    ],
)
def test_a_base_url_that_cannot_be_used_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        HttpGateway(Participant.PAYMENT, url)


def test_a_token_that_is_no_header_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="token"):
        HttpGateway(Participant.PAYMENT, "http://host", bearer_token="a\r\nX: y")
