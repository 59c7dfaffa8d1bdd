"""The order in full: what makes up the amount, and what is stored of members that it lacks."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.problems.problem import Problem
from app.api.schemas.order import LARGEST, Order
from tests.processes import an_order

FULL = {
    "shipping_amount": 499,
    "tax_amount": 0,
    "discount_amount": 200,
    "contact": {"email": "ada@example.com", "phone": "+33155550100"},
    "shipping_method": "express",
    "items": [
        {
            "sku": "TSHIRT-M",
            "quantity": 2,
            "unit_price": 1999,
            "weight_grams": 180,
            "size_mm": [300, 250, 30],
        }
    ],
}


def order(**members: Any) -> Order:
    return Order.of(an_order("ord-1", **members), max_items=10)


def errors(**members: Any) -> list[tuple[str, str]]:
    """Return the pointer and the code of whatever is wrong."""
    with pytest.raises(Problem) as caught:
        order(**members)
    return [(one["pointer"], one["code"]) for one in caught.value.members["errors"]]


def test_the_amount_adds_up() -> None:
    assert order(**FULL).amount == 2 * 1999 + 499 + 0 - 200
    assert order(discount_amount=3998).amount == 0


def test_all_of_it_is_stored() -> None:
    stored = order(**FULL).saga_input()
    assert {name: stored[name] for name in FULL} == FULL
    assert stored["amount"] == 4297


def test_what_an_order_lacks_is_absent_and_what_it_always_had_is_as_before() -> None:
    """The stored input, and with it every body that is sent, is what earlier releases made of such an order."""
    assert order(contact=None, shipping_amount=None).saga_input() == {
        **an_order("ord-1"),
        "shipping_address": {**an_order("")["shipping_address"], "line2": None, "region": None},  # type: ignore[dict-item]
        "metadata": {},
        "amount": 3998,
    }


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ({"discount_amount": 3999}, "/discount_amount", "amount_below_zero"),
        ({"tax_amount": LARGEST}, "/items", "amount_too_large"),
        ({"shipping_amount": -1}, "/shipping_amount", "too_small"),
        ({"shipping_amount": 4.99}, "/shipping_amount", "not_an_integer"),
        ({"contact": {"email": "ada"}}, "/contact/email", "wrong_form"),
        ({"contact": {"email": "a@b\r\nBcc: c@d"}}, "/contact/email", "wrong_form"),
        ({"contact": {"phone": "call me"}}, "/contact/phone", "wrong_form"),
        ({"contact": {"fax": "1"}}, "/contact/fax", "unknown_member"),
        ({"shipping_method": ""}, "/shipping_method", "too_short"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], pointer: str, code: str) -> None:
    assert errors(**members) == [(pointer, code)]


@pytest.mark.parametrize(
    ("line", "pointer"),
    [
        ({"weight_grams": -1}, "/items/0/weight_grams"),
        ({"size_mm": [1, 2]}, "/items/0/size_mm"),
        ({"size_mm": [1, 2, 0]}, "/items/0/size_mm/2"),
    ],
)
def test_a_lines_measures_are_checked(line: dict[str, Any], pointer: str) -> None:
    items = [{"sku": "TSHIRT-M", "quantity": 2, "unit_price": 1999, **line}]
    assert [where for where, _ in errors(items=items)] == [pointer]
