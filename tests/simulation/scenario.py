"""Who checks out what, where and how patiently: drawn from the seed, before anything runs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

_ADDRESS = {"name": "Ada L.", "line1": "1 Main St", "city": "Paris", "postal_code": "75001", "country": "FR"}
DEADLINE = 20.0
LONG_DEADLINE = 72 * 3600.0
_SKEWS = (0.0, 0.0, 3600.0, -3600.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """A client's way: one order, sent again elsewhere while no answer comes, then looked at a few times."""

    order: Mapping[str, Any]
    key: str | None
    at: float
    replica: int
    patience: float
    prefer: str | None = None
    looks: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """A run's cast. `skews` are how far each replica's wall clock is off, in seconds.

    In a `night` everything is dark for longer than a service remembers a key, and a saga has the
    patience to go on forward afterwards.
    """

    replicas: int
    night: bool
    deadline: float
    skews: tuple[float, ...]
    visits: tuple[Visit, ...]


def a_scenario(rng: random.Random) -> Scenario:
    """Draw a scenario of three to six orders."""
    replicas = rng.choice((2, 2, 3))
    night = rng.random() < 0.05
    visits: list[Visit] = []
    for number in range(1, rng.randint(3, 6) + 1):
        visit = _a_visit(rng, number, replicas)
        visits.append(visit)
        luck = rng.random()
        if luck < 0.15 and visit.key is not None:  # the same request again, elsewhere
            visits.append(_again(rng, visit, replicas))
        elif luck < 0.30:  # the same order in another tab
            visits.append(replace(_again(rng, visit, replicas), key=f"tab-{number}"))
    return Scenario(
        replicas=replicas,
        night=night,
        deadline=LONG_DEADLINE if night else DEADLINE,
        skews=tuple(rng.choice(_SKEWS) for _ in range(replicas)),
        visits=tuple(visits),
    )


def _a_visit(rng: random.Random, number: int, replicas: int) -> Visit:
    luck = rng.random()
    sku = "OUT-OF-STOCK-1" if 0.05 < luck < 0.15 else "TSHIRT-M"
    order = {
        "order_id": f"ord-{number}",
        "customer_id": f"cus-{rng.randint(1, 3)}",
        "currency": "EUR",
        "items": [{"sku": sku, "quantity": rng.randint(1, 3), "unit_price": 1000 + number}],
        "payment_method": "tok_declined" if luck < 0.05 else "tok_visa",
        "shipping_address": {**_ADDRESS, "country": "XX"} if 0.15 < luck < 0.4 else _ADDRESS,
    }
    return Visit(
        order=order,
        key=f"key-{number}" if rng.random() < 0.8 else None,
        at=round(rng.random() ** 2 * 3.0, 3),
        replica=rng.randrange(replicas),
        patience=rng.choice((0.5, 2.0, 8.0)),
        prefer=rng.choice((None, None, None, "respond-async", "wait=1")),
        looks=tuple(round(rng.random() * 3.0, 3) for _ in range(rng.randint(0, 2))),
    )


def _again(rng: random.Random, visit: Visit, replicas: int) -> Visit:
    return replace(
        visit,
        at=visit.at + rng.choice((0.0, 0.01, 1.0, 4.0)) * rng.random(),
        replica=(visit.replica + 1) % replicas,
        prefer=None,
    )
