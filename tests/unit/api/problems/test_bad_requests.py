"""What POST /checkout refuses: nothing is stored, the key stays free, and what was sent is never repeated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.api import ApiSettings
from app.saga.model.step import JSON
from tests.unit.api.http.headers.test_idempotency import a_failed_request_leaves_the_key_free
from tests.unit.api.served import an_order, problem, served

VALID = json.dumps(an_order())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"{",
        b"nonsense",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"\xff\xfe{}",
        b'{"a": "\xe9"}',
        b'{"a": 1} {"b": 2}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e400}',
        b'{"a": "\x00"}',
        b'{"a": "line\nbreak"}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
async def test_what_is_not_json_is_400(content: bytes) -> None:
    async with served() as api:
        problem(await api.post_bytes(content, Idempotency_Key="k"), 400, "malformed_json")
        await a_failed_request_leaves_the_key_free(api, "k")


async def test_a_byte_order_mark_is_no_trouble() -> None:
    async with served() as api:
        assert (await api.post_bytes(b"\xef\xbb\xbf" + VALID.encode())).status_code == 201


@pytest.mark.parametrize("content", [b"[]", b'"text"', b"1", b"null", b"true"])
async def test_json_that_is_no_object_is_422(content: bytes) -> None:
    async with served() as api:
        body = problem(await api.post_bytes(content, Idempotency_Key="k"), 422, "invalid_request")
        assert body["errors"] == [{"pointer": "", "detail": "Give an object.", "code": "not_an_object"}]
        await a_failed_request_leaves_the_key_free(api, "k")


def item(**changes: JSON) -> dict[str, JSON]:
    return {"items": [{"sku": "A", "quantity": 1, "unit_price": 1, **changes}]}


def address(**changes: JSON) -> dict[str, JSON]:
    return {"shipping_address": {**an_order()["shipping_address"], **changes}}


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        (item(quantity="5"), "/items/0/quantity", "not_an_integer"),
        (item(quantity=True), "/items/0/quantity", "not_an_integer"),
        (item(quantity=5.0), "/items/0/quantity", "not_an_integer"),
        (item(quantity=None), "/items/0/quantity", "not_an_integer"),
        (item(quantity=0), "/items/0/quantity", "too_small"),
        (item(quantity=-1), "/items/0/quantity", "too_small"),
        (item(quantity=100_001), "/items/0/quantity", "too_large"),
        (item(quantity=10**39), "/items/0/quantity", "too_large"),
        (item(unit_price=-1), "/items/0/unit_price", "too_small"),
        (item(unit_price=10**12 + 1), "/items/0/unit_price", "too_large"),
        (item(quantity=100_000, unit_price=10**12), "/items", "amount_too_large"),
        (item(colour="red"), "/items/0/colour", "unknown_member"),
        (item(sku=""), "/items/0/sku", "too_short"),
        (item(sku="a" * 129), "/items/0/sku", "too_long"),
        (item(sku=" a"), "/items/0/sku", "surrounding_space"),
        (item(sku="a\u0000"), "/items/0/sku", "control_character"),
        (item(sku="a\u009f"), "/items/0/sku", "control_character"),
        (item(sku="\ud800"), "/items/0/sku", "control_character"),
        (item(sku=7), "/items/0/sku", "not_a_string"),
        ({"items": []}, "/items", "too_few"),
        ({"items": {}}, "/items", "not_an_array"),
        ({"items": [1]}, "/items/0", "not_an_object"),
        ({"items": item()["items"] * 101}, "/items", "too_many"),
        ({"currency": "eur"}, "/currency", "wrong_form"),
        ({"currency": "EUR\n"}, "/currency", "wrong_form"),
        ({"currency": "€UR"}, "/currency", "wrong_form"),
        *(({"currency": code}, "/currency", "unknown_currency") for code in ("ZZZ", "XXX", "XAU", "HRK")),
        ({"order_id": None}, "/order_id", "not_a_string"),
        ({"order_id": "  "}, "/order_id", "surrounding_space"),
        ({"customer_id": "a" * 129}, "/customer_id", "too_long"),
        ({"payment_method": ""}, "/payment_method", "too_short"),
        ({"payment_metod": "tok"}, "/payment_metod", "unknown_member"),
        (address(country="FRA"), "/shipping_address/country", "wrong_form"),
        (address(line1=None), "/shipping_address/line1", "not_a_string"),
        (address(line2="a\nb"), "/shipping_address/line2", "control_character"),
        (address(name="\u007f"), "/shipping_address/name", "control_character"),
        (address(postal_code="a" * 21), "/shipping_address/postal_code", "too_long"),
        ({"shipping_address": None}, "/shipping_address", "not_an_object"),
        ({"metadata": None}, "/metadata", "not_an_object"),
        ({"metadata": []}, "/metadata", "not_an_object"),
        ({"metadata": {"a": []}}, "/metadata/a", "not_a_scalar"),
        ({"metadata": {"a": {"b": 1}}}, "/metadata/a", "not_a_scalar"),
        ({"metadata": {"a": 2**53}}, "/metadata/a", "too_large"),
        ({"metadata": {"a": "x" * 501}}, "/metadata/a", "too_long"),
        ({"metadata": {"a": "\u0000"}}, "/metadata/a", "control_character"),
        ({"metadata": {"": 1}}, "/metadata", "too_short"),
        ({"metadata": {"a\u0000": 1}}, "/metadata", "control_character"),
        ({"metadata": {"\ud800": 1}}, "/metadata", "control_character"),
        ({"metadata": {"a" * 41: 1}}, "/metadata", "too_long"),
        ({"metadata": {str(n): n for n in range(51)}}, "/metadata", "too_many"),
    ],
)
async def test_what_breaks_the_schema_is_422_and_points_at_it(
    changes: dict[str, JSON], pointer: str, code: str
) -> None:
    async with served() as api:
        body = problem(await api.post(an_order(**changes), key="k"), 422, "invalid_request")
        assert [(error["pointer"], error["code"]) for error in body["errors"]] == [(pointer, code)]
        assert body["errors"][0]["detail"]
        await a_failed_request_leaves_the_key_free(api, "k")


@pytest.mark.parametrize("name", [n for n in an_order() if n != "metadata"])
async def test_a_missing_member_is_named(name: str) -> None:
    async with served() as api:
        order = an_order()
        del order[name]
        body = problem(await api.post(order), 422, "invalid_request")
        assert body["errors"] == [{"pointer": f"/{name}", "detail": "Add this member.", "code": "missing"}]


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {}},
        {"metadata": {"a": None, "b": True, "c": 1.5, "d": -(2**53) + 1, "e": ""}},
        item(unit_price=0),
        item(quantity=1, unit_price=10**12),
        address(name="Zoë Ångström-O'Neill 🎁"),
    ],
)
async def test_what_is_unusual_but_right_is_taken(changes: dict[str, JSON]) -> None:
    async with served() as api:
        assert (await api.post(an_order(**changes))).status_code == 201


async def test_what_may_be_left_out_may_be_left_out() -> None:
    async with served() as api:
        order = an_order()
        del order["metadata"], order["shipping_address"]["line2"], order["shipping_address"]["region"]
        assert (await api.post(order)).status_code == 201


async def test_what_was_sent_is_never_repeated() -> None:
    secret = "4111111111111111"
    order = an_order(
        payment_method=[secret], customer_id={"card": secret}, currency=secret, **{secret: secret}
    )
    order["items"][0]["quantity"] = secret
    async with served() as api:
        assert secret not in (await api.post(order)).text
        assert secret not in (await api.post_bytes(f'{{"{secret}": 1, "{secret}": 2}}'.encode())).text
        assert secret not in (await api.post_bytes(f'{{"a": "{secret}'.encode())).text
        assert secret not in (await api.post(url=f"/checkout?{secret}={secret}")).text


async def test_many_mistakes_are_told_at_once_but_not_without_end() -> None:
    async with served() as api:
        assert len((await api.post({})).json()["errors"]) == 6
        assert len((await api.post({f"a{n}": n for n in range(500)})).json()["errors"]) == 50


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json; charset=iso-8859-1"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity, br"},
    ],
)
async def test_another_media_type_is_415(headers: dict[str, str]) -> None:
    async with served() as api:
        named = {"Content-Type": "application/json", "Idempotency-Key": "k"} | headers
        answer = await api.client.post("/checkout", content=VALID.encode(), headers=named)
        problem(answer, 415, "unsupported_media_type")
        await a_failed_request_leaves_the_key_free(api, "k")


async def test_no_media_type_is_415() -> None:
    async with served() as api:
        problem(await api.client.post("/checkout", content=VALID.encode()), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "Application/JSON"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": 'application/json;charset="UTF-8"'},
        {"Content-Encoding": "identity"},
    ],
)
async def test_json_in_utf_8_is_taken(headers: dict[str, str]) -> None:
    async with served() as api:
        named = {"Content-Type": "application/json"} | headers
        assert (await api.client.post("/checkout", content=VALID.encode(), headers=named)).status_code == 201


async def test_a_body_over_the_limit_is_413_unread() -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield b" " * 10_000

    async with served() as api:
        headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
        streamed = await api.client.post("/checkout", content=endless(), headers=headers)
        problem(streamed, 413, "body_too_large")
        assert streamed.headers["connection"] == "close"
        assert read == 7
        announced = await api.post_bytes(b" " * 70_000, Idempotency_Key="k")
        problem(announced, 413, "body_too_large")
        await a_failed_request_leaves_the_key_free(api, "k")


async def test_a_body_at_the_limit_is_read() -> None:
    async with served(ApiSettings(max_body_bytes=len(VALID))) as api:
        assert (await api.post_bytes(VALID.encode())).status_code == 201
        problem(await api.post_bytes(VALID.encode() + b" "), 413, "body_too_large")


async def test_a_body_that_does_not_come_is_408() -> None:
    async def stalls() -> Any:
        yield b"{"
        await asyncio.Event().wait()

    async with served(ApiSettings(body_seconds=0.01)) as api:
        headers = {"Content-Type": "application/json"}
        answer = await api.client.post("/checkout", content=stalls(), headers=headers)
        problem(answer, 408, "request_timeout")
        assert (await api.post()).status_code == 201
