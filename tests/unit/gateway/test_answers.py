"""What the gateway makes of a service's answers: good, bad, and unreadable."""

from __future__ import annotations

from typing import Any

import pytest

from app.saga.model.errors import FailureKind, StepOutcomeUnknown, StepRejected
from app.services import Closed
from tests.unit.gateway.asking import CALL, a_gateway, deleted, problem, put, refused
from tests.unit.gateway.network import Behaviour, Line, answering, hostile, response


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
