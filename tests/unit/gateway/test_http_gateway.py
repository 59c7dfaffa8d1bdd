"""What the gateway makes of a service that answers badly, late, or not at all."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from app.saga.model.errors import FailureKind, StepError, StepOutcomeUnknown, StepRejected, StepUnavailable
from app.services import Call, Closed, GatewayVerb, HttpGateway, Participant
from tests.unit.gateway.network import Behaviour, Hostile, Line, answering, hostile, response

REFERENCE = "0193b3c8-0000-7000-8000-000000000001"
CALL = Call.to(Participant.PAYMENT, GatewayVerb.EXECUTE, reference=REFERENCE)
BODY = {"order_id": "ord-1", "amount": 1999}
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PATIENCE = 0.4
"""A deadline that is meant to pass; any other is long enough never to."""


@asynccontextmanager
async def a_gateway(url: str, **options: Any) -> AsyncIterator[HttpGateway]:
    given = {"timeout": 30.0, "now": lambda: NOW, "new_span_id": lambda: "00f067aa0ba902b7", **options}
    gateway = HttpGateway(Participant.PAYMENT, url, **given)
    try:
        yield gateway
    finally:
        await gateway.aclose()


async def put(behave: Behaviour, **options: Any) -> dict[str, Any]:
    """Return what a put gets from a server that behaves so."""
    async with hostile(behave) as server, a_gateway(server.url, **options) as gateway:
        return await gateway.put(CALL, BODY)


async def refused(behave: Behaviour, **options: Any) -> StepError:
    """Return the error that a put gets from a server that behaves so."""
    with pytest.raises(StepError) as caught:
        await put(behave, **options)
    return caught.value


def problem(status: int, body: Any, headers: str = "") -> Behaviour:
    content = json.dumps(body).encode()
    return answering(response(status, content, content_type="application/problem+json", headers=headers))


async def test_a_2xx_answer_is_handed_on_as_it_came() -> None:
    assert await put(answering(response(201, b'{"payment_id": "p"}'))) == {"payment_id": "p"}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (402, "card_declined", FailureKind.REFUSED),
        (409, "conflict", FailureKind.REFUSED),
        (422, "unprocessable", FailureKind.REFUSED),
        (410, "reference_closed", FailureKind.UNUSABLE),
        (400, "http_400", FailureKind.UNUSABLE),
        (401, "http_401", FailureKind.UNUSABLE),
        (403, "http_403", FailureKind.UNUSABLE),
        (404, "http_404", FailureKind.UNUSABLE),
        (451, "http_451", FailureKind.UNUSABLE),
    ],
)
async def test_a_4xx_is_final(status: int, code: str, kind: FailureKind) -> None:
    error = await refused(answering(response(status, b"<html>", content_type="text/html")))
    assert isinstance(error, StepRejected)
    assert (error.code, error.kind) == (code, kind)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (408, "timeout", FailureKind.TIMEOUT),
        (504, "timeout", FailureKind.TIMEOUT),
        (429, "unavailable", FailureKind.UNAVAILABLE),
        (503, "unavailable", FailureKind.UNAVAILABLE),
        (425, "too_early", FailureKind.UNUSABLE),
        (500, "server_error", FailureKind.UNUSABLE),
        (502, "server_error", FailureKind.UNUSABLE),
        (599, "server_error", FailureKind.UNUSABLE),
        (302, "unusable_answer", FailureKind.UNUSABLE),
        (304, "unusable_answer", FailureKind.UNUSABLE),
    ],
)
async def test_anything_else_is_unknown(status: int, code: str, kind: FailureKind) -> None:
    headers = "Location: /elsewhere\r\nRetry-After: 7\r\n"
    error = await refused(answering(response(status, headers=headers)))
    assert isinstance(error, StepOutcomeUnknown)
    assert (error.code, error.kind, error.retry_after) == (code, kind, 7.0)


@pytest.mark.parametrize("code", ["reference_reused", "not_reversible", "reference_closed"])
async def test_a_conflict_that_is_our_own_is_no_refusal_of_the_order(code: str) -> None:
    error = await refused(problem(409, {"code": code}))
    assert (error.code, error.kind) == (code, FailureKind.UNUSABLE)


async def test_a_problem_tells_its_code_and_its_words() -> None:
    error = await refused(problem(409, {"code": "out_of_stock", "detail": "No\x00 more\nshirts" + "!" * 500}))
    assert (error.code, error.kind) == ("out_of_stock", FailureKind.REFUSED)
    assert str(error).startswith("No  more shirts!!!")
    assert len(str(error)) == 200


async def test_a_problem_with_a_card_number_in_it_is_not_repeated() -> None:
    """What a service says goes into trails, logs and webhooks."""
    said = {"title": "Declined", "detail": "Card 4242 4242 4242 4242 was declined."}
    assert str(await refused(problem(402, said))) == "Declined"
    said = {"detail": "x" * 190 + " 4242424242424242"}
    assert str(await refused(problem(402, said))) == "The service answered 402."


@pytest.mark.parametrize("code", ["Out Of Stock", "x" * 65, "", 7, None, "drop;table", "ü"])
async def test_a_code_that_is_no_word_is_not_taken_over(code: object) -> None:
    assert (await refused(problem(402, {"code": code}))).code == "card_declined"


async def test_a_redirect_is_not_followed() -> None:
    async with hostile(answering(response(200, b"{}"))) as other:
        redirect = response(307, headers=f"Location: {other.url}/payments/x\r\n")
        error = await refused(answering(redirect))
    assert isinstance(error, StepOutcomeUnknown)
    assert other.heard == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a": 1}', "text/html"),
        (b'{"a": 1}', "application/jsonp"),
        (b'{"a": 1}', ""),
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[1]", "application/json"),
        (b'"text"', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b'{"amount": NaN}', "application/json"),
        (b'{"amount": 1, "amount": 2}', "application/json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"a":' * 100_000, "application/json"),
    ],
)
async def test_a_success_that_cannot_be_read_is_unknown(body: bytes, content_type: str) -> None:
    error = await refused(answering(response(201, body, content_type=content_type)))
    assert isinstance(error, StepOutcomeUnknown)
    assert (error.code, error.kind) == ("unusable_answer", FailureKind.UNUSABLE)


async def deleted(behave: Behaviour) -> dict[str, Any]:
    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        return await gateway.delete(CALL)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", {}),
        (response(200), {}),
        (response(200, content_type="text/html"), {}),
        (response(202, b"{}"), {}),
        (
            response(200, b'{"status": "released", "refund_id": "r1"}'),
            {"status": "released", "refund_id": "r1"},
        ),
        (response(200, b"null"), {}),
        (response(200, b"OK", content_type="text/plain"), {}),
        (response(200, b"\x1f\x8b", headers="Content-Encoding: gzip\r\n"), {}),
        (response(299, b'{"sta'), {}),
    ],
)
async def test_any_2xx_to_a_delete_is_an_undo_done(text: bytes, said: dict[str, Any]) -> None:
    """With or without a body: the status says that the work is compensated; the body is for people."""
    assert await deleted(answering(text)) == said


@pytest.mark.parametrize(
    "text",
    [
        response(200, b"<html>We are back at noon.</html>", content_type="text/html; charset=utf-8"),
        response(200, b"<html>" + b" " * (1 << 20), content_type="text/html"),
        response(200, b'{"status": "pending"}'),
        response(202, b'{"status": "failed"}'),
        b"HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n{",
    ],
)
async def test_a_page_or_a_denial_is_no_undo(text: bytes) -> None:
    """To send it again is harmless; to believe it may leave a customer charged."""

    async def behave(line: Line) -> None:
        await line.say(text)
        line.writer.close()

    with pytest.raises(StepOutcomeUnknown):
        await deleted(behave)


@pytest.mark.parametrize("text", [b"HTTP/1.1 204 No Content\r\n\r\n", response(200)])
async def test_a_put_needs_its_members(text: bytes) -> None:
    """That it was done is not enough: of what, and of how much, is what is checked."""
    assert isinstance(await refused(answering(text)), StepOutcomeUnknown)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    error = await refused(answering(response(200, b"\x1f\x8b", headers="Content-Encoding: gzip\r\n")))
    assert error.code == "unusable_answer"


async def test_json_with_a_charset_and_a_suffix_is_json() -> None:
    text = response(200, b'{"a": 1}', content_type="Application/vnd.shop+JSON; charset=utf-8")
    assert await put(answering(text)) == {"a": 1}


async def test_a_huge_body_is_not_read_to_its_end() -> None:
    endless = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def behave(line: Line) -> None:
        await line.say(endless)
        while True:
            await line.say(b"400\r\n" + b" " * 0x400 + b"\r\n")

    error = await refused(behave, max_body_bytes=10_000)
    assert error.code == "unusable_answer"


async def test_a_body_that_drips_does_not_outlast_the_deadline() -> None:
    async def behave(line: Line) -> None:
        await line.say(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await line.say(b" ")
            await asyncio.sleep(PATIENCE / 20)  # a drip: each read succeeds, the whole never does

    error = await refused(behave, timeout=PATIENCE)
    assert isinstance(error, StepOutcomeUnknown)
    assert (error.code, error.kind) == ("timeout", FailureKind.TIMEOUT)


async def test_silence_is_a_time_out_of_unknown_outcome() -> None:
    error = await refused(lambda line: line.silence(), timeout=PATIENCE)
    assert isinstance(error, StepOutcomeUnknown)
    assert (error.code, error.kind) == ("timeout", FailureKind.TIMEOUT)


async def test_a_connection_that_breaks_after_the_request_is_unknown() -> None:
    async def behave(line: Line) -> None:
        line.reset()

    error = await refused(behave)
    assert isinstance(error, StepOutcomeUnknown)
    assert error.code == "connection_broken"


async def test_a_server_that_hangs_up_without_a_word_is_unknown() -> None:
    async def behave(line: Line) -> None:
        line.writer.close()
        await line.writer.wait_closed()

    assert isinstance(await refused(behave), StepOutcomeUnknown)


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n{", b"SSH-2.0-x\r\n\r\n"])
async def test_an_answer_that_breaks_off_is_unknown(text: bytes) -> None:
    async def behave(line: Line) -> None:
        await line.say(text)
        line.writer.close()
        await line.writer.wait_closed()

    assert isinstance(await refused(behave), StepOutcomeUnknown)


VERBS = {
    "put": lambda gateway: gateway.put(CALL, BODY),
    "delete": lambda gateway: gateway.delete(CALL),
    "get": lambda gateway: gateway.get(CALL),
    "capture": lambda gateway: gateway.capture(CALL),
}


@pytest.mark.parametrize("kept_alive", [True, False])
@pytest.mark.parametrize("farewell", ["reset", "close", "half an answer"])
@pytest.mark.parametrize("verb", VERBS)
async def test_one_attempt_is_one_request(verb: str, farewell: str, kept_alive: bool) -> None:
    """What a second request would be answered must not hide that the first one's outcome is unknown."""
    broken: list[bytes] = []

    async def behave(line: Line) -> None:
        first = len(server.heard) == 1
        if kept_alive and first:
            await line.say(response(200, b"{}"))
        elif not broken:
            broken.append(server.heard[-1])  # it had its effect
            if farewell == "half an answer":
                await line.say(b"HTTP/1.1 200 O")
            if farewell == "reset":
                line.reset()
            else:
                line.writer.close()
        else:
            await line.say(response(402, b'{"code": "card_declined"}'))

    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        if kept_alive:
            await gateway.put(CALL, BODY)
        with pytest.raises(StepOutcomeUnknown):
            await VERBS[verb](gateway)
        assert server.heard.count(broken[0]) == (2 if kept_alive and verb == "put" else 1)
        assert len(server.heard) == 1 + kept_alive
        with pytest.raises(StepRejected):  # and the next attempt gets its answer
            await VERBS[verb](gateway)


@pytest.mark.parametrize("last_words", [b"", response(408, b"idle for too long")])
async def test_a_connection_that_the_server_has_closed_meanwhile_costs_no_attempt(last_words: bytes) -> None:
    """It is found out before anything is sent, also where this process's loop hasn't heard of it yet."""

    async def behave(line: Line) -> None:
        await line.say(response(200, b"{}"))
        lines.append(line)

    lines: list[Line] = []
    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        for _ in range(3):
            await gateway.put(CALL, BODY)
            lines[-1].shut(last_words)
        assert len(server.heard) == 3
        assert len(lines) == 3
        assert len(set(server.heard)) == 1


async def test_what_nobody_asked_for_is_not_taken_for_the_next_answer() -> None:
    """A server that answers twice, or says 408 to an idle connection without closing it."""

    async def behave(line: Line) -> None:
        lines.append(line)
        await line.say(response(200, b"{}"))
        if len(lines) == 1:
            await line.say(response(402, b'{"code": "card_declined"}'))

    lines: list[Line] = []
    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        await gateway.put(CALL, BODY)
        assert await gateway.put(CALL, BODY) == {}
        assert lines[0].writer is not lines[1].writer
        assert len(server.heard) == 2


async def test_a_server_that_is_gone_since_the_last_call_was_not_reached() -> None:
    """Its farewell on the idle connection is no sign that a request was sent."""

    async def behave(line: Line) -> None:
        await line.say(response(200, b"{}", headers="Keep-Alive: timeout=60\r\n"))

    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        await gateway.put(CALL, BODY)
        server.stop()
        with pytest.raises(StepUnavailable):
            await gateway.put(CALL, BODY)


async def test_a_server_that_speaks_first_is_asked_all_the_same() -> None:
    """Only a connection that had a request before is looked at: or every new one would be thrown away."""
    async with hostile(answering(response(200, b"{}")), greeting=b"\r\n") as server:
        async with a_gateway(server.url) as gateway:
            assert await gateway.put(CALL, BODY) == {}
        assert len(server.heard) == 1


async def test_a_refused_connection_is_certainly_without_effect() -> None:
    async with hostile(answering(b"")) as gone:
        pass
    async with a_gateway(gone.url) as gateway:
        with pytest.raises(StepUnavailable) as caught:
            await gateway.put(CALL, BODY)
    assert caught.value.kind is FailureKind.UNAVAILABLE


async def test_an_address_that_keeps_silent_does_not_hide_the_one_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service's AAAA that drops packets beside a good A: they are tried side by side."""
    loop, asked = asyncio.get_running_loop(), []
    connect = loop.sock_connect

    async def sock_connect(sock: socket.socket, address: tuple[str, int]) -> None:
        asked.append(address[0])
        if address[0] == "2001:db8::1":
            await asyncio.Event().wait()
        await connect(sock, address)

    async def getaddrinfo(_host: str, port: int, **_: object) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    async with hostile(answering(response(200, b"{}"))) as server:
        url = server.url.replace("127.0.0.1", "payments.example")
        async with a_gateway(url) as gateway:
            assert await gateway.put(CALL, BODY) == {}
    assert asked == ["2001:db8::1", "127.0.0.1"]


async def test_a_name_that_nobody_has_is_certainly_without_effect() -> None:
    async with a_gateway("http://payments.invalid") as gateway:
        with pytest.raises(StepUnavailable):
            await gateway.put(CALL, BODY)


async def test_a_failed_tls_handshake_is_certainly_without_effect() -> None:
    async with hostile(answering(b"no TLS here")) as server:
        url = server.url.replace("http://", "https://")
        # The server waits for a line's end, so the handshake hangs until the deadline.
        async with a_gateway(url, timeout=PATIENCE) as gateway:
            with pytest.raises(StepUnavailable):
                await gateway.put(CALL, BODY)
        assert server.heard == []


async def test_who_finds_no_place_has_sent_nothing() -> None:
    asked = asyncio.Event()

    async def behave(line: Line) -> None:
        asked.set()
        await line.silence()

    async with hostile(behave) as server, a_gateway(server.url, max_connections=1) as gateway:
        first = asyncio.create_task(gateway.put(CALL, BODY))
        await asked.wait()
        gateway._timeout = PATIENCE
        with pytest.raises(StepUnavailable):
            await gateway.put(CALL, BODY)
        assert len(server.heard) == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_place_is_given_back_whatever_happens() -> None:
    async with (
        hostile(answering(response(500))) as server,
        a_gateway(server.url, max_connections=1) as gateway,
    ):
        for _ in range(3):
            with pytest.raises(StepOutcomeUnknown):
                await gateway.put(CALL, BODY)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("9999999999", 9999999999.0),
        ("Thursday, 01-Jan-26 12:01:30 GMT", 90.0),
        ("Thu Jan  1 12:01:30 2026", 90.0),
        ("Thu, 01 Jan 2026 12:01:30 GMT", 90.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 12:00:05 -0000", 5.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Thu, 01 Jan 2026", None),
        ("2026-01-01T12:00:05Z", None),
        ("1e3", None),
        ("inf", None),
        ("12:00:05", None),
        ("9" * 400, None),
        ("\u00b2", None),
        ("", None),
    ],
)
async def test_retry_after_is_a_number_or_a_date_and_garbage_is_ignored(
    value: str, seconds: float | None
) -> None:
    error = await refused(answering(response(503, headers=f"Retry-After: {value}\r\n")))
    assert error.retry_after == seconds


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


async def ask_what_stands(behave: Behaviour) -> dict[str, Any] | Closed | None:
    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        return await gateway.get(CALL)


async def test_a_look_up_believes_a_404_or_410_that_says_why() -> None:
    assert await ask_what_stands(problem(404, {"code": "not_found"})) is None
    assert await ask_what_stands(problem(410, {"code": "reference_closed"})) == Closed()


@pytest.mark.parametrize("status", [404, 410])
async def test_a_proxys_not_found_does_not_pass_for_nothing_stands(status: int) -> None:
    with pytest.raises(StepOutcomeUnknown):
        await ask_what_stands(answering(response(status, b'{"detail":"Not Found"}')))


@pytest.mark.parametrize("status", [404, 410])
async def test_a_delete_answered_not_found_has_closed_nothing(status: int) -> None:
    async with hostile(problem(status, {"code": "not_found"})) as server, a_gateway(server.url) as gateway:
        with pytest.raises(StepRejected) as caught:
            await gateway.delete(CALL)
    assert caught.value.kind is FailureKind.UNUSABLE


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


class Surprise(Exception):
    """Something that no library has said it raises."""


@pytest.mark.parametrize(
    "surprise",
    [Surprise(), OSError(5, "x"), RecursionError(), MemoryError(), ExceptionGroup("x", [Surprise()])],
)
async def test_no_foreign_exception_slips_through(
    surprise: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raise_it(*_: object) -> None:
        raise surprise

    def raise_at_once() -> None:
        raise surprise

    async with hostile(answering(response(200, b"{}"))) as server, a_gateway(server.url) as gateway:
        # Before anything was sent, while a body is read, and within the body that is to be sent.
        with monkeypatch.context() as patch:
            patch.setattr(gateway, "_session", raise_at_once)
            with pytest.raises(StepUnavailable):
                await gateway.put(CALL, BODY)
        with monkeypatch.context() as patch:
            patch.setattr(gateway, "_read", raise_it)
            with pytest.raises(StepOutcomeUnknown):
                await gateway.put(CALL, BODY)
        with pytest.raises(StepUnavailable):
            await gateway.put(CALL, {"not": {"JSON"}})
        assert len(server.heard) == 1


async def test_a_cancelled_call_stays_cancelled() -> None:
    asked = asyncio.Event()

    async def behave(line: Line) -> None:
        asked.set()
        await line.silence()

    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        task = asyncio.create_task(gateway.put(CALL, BODY))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert isinstance(server, Hostile)
