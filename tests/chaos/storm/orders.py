"""What the clients of a chaos run order, and how each of them behaves: all from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from tests.processes import ADDRESS, an_order

_KINDS = {
    "plain": 70,
    "declined": 4,
    "out of stock": 5,
    "not serviceable": 8,
    "simulated": 13,
}
_SIMULATED = (
    "shipping.execute=late_effect:4",
    "payment.execute=late_effect:1",
    "inventory.execute=timeout_after_effect:4",
    "payment.execute=timeout_after_effect:2, shipping.execute=rejected",
    "shipping.execute=timeout_before_effect:4, payment.compensate=timeout_after_effect:2",
    "shipping.execute=rejected, inventory.compensate=unavailable:3",
)
_PREFERENCES = ("respond-async", "respond-async", "wait=2", "wait=4", "")
_SKUS = ("TSHIRT-S", "TSHIRT-M", "MUG-1", "POSTER-7")


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One order of one client, and its ways: whom it asks first, how long it waits, what it does afterwards.

    `hangs_up` leaves the first request in the middle; `follows` reads the saga until it ends;
    `repeats` sends the request once more after a definite answer; of one `in_two_tabs` there is a second
    order with the same body under another key.
    """

    key: str
    body: dict[str, Any]
    first: int
    headers: dict[str, str] = field(default_factory=dict)
    hangs_up: bool
    follows: bool
    repeats: bool
    in_two_tabs: bool


def orders(seed: int, count: int) -> list[Order]:
    """Return the run's orders, and right behind each that is in two tabs the second tab."""
    rng = random.Random(f"orders {seed}")
    placed: list[Order] = []
    for number in range(count):
        order = _order(rng, number)
        placed.append(order)
        if order.in_two_tabs:
            key = f"{order.key}-second-tab"
            placed.append(replace(order, key=key, headers={**order.headers, "Idempotency-Key": key}))
    return placed


def _order(rng: random.Random, number: int) -> Order:
    kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    items = [
        {"sku": sku, "quantity": rng.randint(1, 5), "unit_price": rng.randint(1, 9_999)}
        for sku in rng.sample(_SKUS, rng.randint(1, 3))
    ]
    members: dict[str, Any] = {
        "customer_id": f"cus-{rng.randrange(50)}",
        "currency": rng.choice(("EUR", "USD", "JPY")),
        "items": items,
    }
    headers = {"Idempotency-Key": f"key-{number}"}
    if kind == "declined":
        members["payment_method"] = "tok_declined"
    elif kind == "out of stock":
        items[-1]["sku"] = f"OUT-OF-STOCK-{number % 3}"
    elif kind == "not serviceable":
        members["shipping_address"] = ADDRESS | {"country": "XX"}
    elif kind == "simulated":
        headers["X-Simulate"] = rng.choice(_SIMULATED)
    if prefer := rng.choice(_PREFERENCES):
        headers["Prefer"] = prefer
    return Order(
        key=headers["Idempotency-Key"],
        body=an_order(f"ord-{number}", **members),
        first=rng.randrange(2),
        headers=headers,
        hangs_up=rng.random() < 0.05,
        follows=rng.random() < 0.5,
        repeats=rng.random() < 0.1,
        in_two_tabs=rng.random() < 0.03,
    )
