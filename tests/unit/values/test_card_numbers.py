"""Card numbers, and what only looks like one."""

from __future__ import annotations

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.values.card_numbers import (
    SHORTEST_PAYMENT_METHOD,
    holds_card_number,
    places_of_card_numbers,
)

ISSUED = {
    "Visa": "4242424242424242",
    "Visa, 19 digits": "4917610000000000003",
    "Mastercard": "5555555555554444",
    "Mastercard, series 2": "2223003122003222",
    "American Express": "378282246310005",
    "Discover": "6011111111111117",
    "Diners Club, 16 digits": "3056930009020004",
    "JCB": "3566002020360505",
    "UnionPay": "6200000000000005",
    "UnionPay, 19 digits": "6205500000000000004",
    "Maestro": "6759649826438453",
    "Dankort": "5019717010103742",
    "Elo": "6362970000457013",
    "Hipercard": "6062826786276634",
    "Troy": "9792030394440796",
}
"""Numbers that networks and processors publish for tests."""

SHORT = {
    "Visa, 13 digits": "4222222222222",
    "Diners Club": "30569309025904",
    "Diners Club, 36": "36227206271667",
}
VISA = ISSUED["Visa"]
SPELT = {
    "blanks": "4242 4242 4242 4242",
    "dashes": "4242-4242-4242-4242",
    "pairs": "42 42 42 42 42 42 42 42",
    "one by one": " ".join(VISA),
    "no-break spaces": "4242\u00a04242\u00a04242\u00a04242",
    "thin spaces": "4242\u20094242\u20094242\u20094242",
    "typographic dashes": "4242\u20114242\u20134242\u22124242",
    "invisible characters": "4242\u200b4242\u00ad4242\ufeff4242",
    "blanks around dashes": "4242 - 4242 - 4242 - 4242",
    "line ends": "4242 4242\n4242 4242",
    "full width": VISA.translate(str.maketrans("0123456789", "０１２３４５６７８９")),  # noqa: RUF001
    "Arabic-Indic": VISA.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
    "Devanagari": VISA.translate(str.maketrans("0123456789", "०१२३४५६७८९")),
    "superscript": VISA.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")),
    "among words": "the customer read out 4242 4242 4242 4242, then hung up",
    "before an expiry": "4242 4242 4242 4242 12 27 123",
    "behind a count": "2 4242 4242 4242 4242",
    "behind a word": f"PAN{VISA}",
    "in a token's clothes": f"tok_{VISA}",
    "before a currency": f"{VISA}EUR",
    "with a hash sign": f"#{VISA}",
    "in quotes": f'"{VISA}"',
    "twice": f"{VISA} {VISA}",
    "an American Express's groups": "3782 822463 10005",
}
HONEST = {
    "EAN-13": "4006381333931",
    "EAN-13 that a card could be": SHORT["Visa, 13 digits"],
    "GTIN-14": "00012345600012",
    "IMEI": "490154203237518",
    "IMEI of today's phones": "356938035643809",
    "ICCID": "89014103211118510720",
    "wrong check digit": "4242424242424241",
    "nobody's first digits": "1000000000000008",
    "a length that Visa hasn't": "424242424242424242",
    "too many digits": "4242424242424242424242424242",
    "UUID": "550e8400-e29b-41d4-a716-446655440000",
    "UUID of digits": "42424242-4242-4242-4242-424242424242",
    "hash": "550e8400e29b41d4a716446655440000",
    "hash with a card in it": f"9f{VISA}c01d",
    "order number by date": "20261128093000123",
    "marketplace order number": "302-1234567-1234567",
    "milliseconds and a count": "1732780800000-123456",
    "token": "pi_3MtwBwLkdIwHu7ix28a3tqPa",
    "short token": "tok_visa",
    "phone": "+33 1 55 55 01 00",
    "coordinates": "48.856614123456789",
    "IBAN": "DE89370400440532013000",
    "address": "12 - 14 rue de Rivoli 75001 Paris 2026",
}


@pytest.mark.parametrize("number", ISSUED.values(), ids=ISSUED)
def test_a_number_that_an_issuer_may_have_given_out_is_one(number: str) -> None:
    assert holds_card_number(number)
    assert holds_card_number(number, shortest=SHORTEST_PAYMENT_METHOD)


@pytest.mark.parametrize("number", SHORT.values(), ids=SHORT)
def test_a_short_one_is_one_in_a_payment_method_alone(number: str) -> None:
    """Elsewhere it may be an article number."""
    assert places_of_card_numbers({"payment_method": number, "sku": number}) == [("payment_method",)]
    assert places_of_card_numbers({"payment_method": int(number), "n": int(number)}) == [("payment_method",)]


@pytest.mark.parametrize("text", SPELT.values(), ids=SPELT)
def test_it_is_known_however_it_is_written(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
def test_what_is_honest_passes(text: str) -> None:
    assert not holds_card_number(text)


@given(st.uuids())
def test_no_uuid_is_one(value: uuid.UUID) -> None:
    assert not holds_card_number(str(value))
    assert not holds_card_number(f"order {str(value).upper()} again")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_can_be_looked_through(body: object) -> None:
    assert isinstance(places_of_card_numbers(body), list)


def test_every_place_is_named() -> None:
    body = {
        "order_id": f"A {VISA}",
        "items": [{"sku": "A"}, {"sku": VISA}],
        "metadata": {"n": int(VISA), "f": float(VISA), "ok": 4242424242424241, VISA: 1},
    }
    assert set(places_of_card_numbers(body)) == {
        ("order_id",),
        ("items", 1, "sku"),
        ("metadata", "n"),
        ("metadata", "f"),
        ("metadata", VISA),
    }
    assert places_of_card_numbers(VISA) == [()]


def test_a_body_may_be_nested_as_deep_as_it_can_be_read() -> None:
    body: object = VISA
    for _ in range(5000):
        body = [body]
    assert places_of_card_numbers(body) == [(0,) * 5000]


@pytest.mark.parametrize("piece", ["4", "4 ", "4   ", "4111 ", "a1", "4 1111 ", "１", "- "])  # noqa: RUF001
def test_the_time_is_linear_in_the_text(piece: str) -> None:
    """Four times the text takes about four times as long; were it quadratic, it would be sixteen."""

    def seconds(text: str) -> float:
        took = []
        for _ in range(5):
            began = time.thread_time()
            holds_card_number(text)
            took.append(time.thread_time() - began)
        return min(took)

    assert seconds(piece * 40_000) < 10 * seconds(piece * 10_000) + 0.005
