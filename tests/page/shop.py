"""A service with sagas in every state, and a past to plot."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx

from app.storage.engine.tables import instant_text
from app.storage.sagas.first_id import first_id
from tests.processes import Running, a_checkout, an_order

PAST = 900
STATES = {
    "ord-2041": ("", "completed"),
    "ord-2042": ("shipping.execute=rejected", "compensated"),
    "ord-2043": ("payment.execute=unavailable:2, shipping.execute=timeout_after_effect:1", "completed"),
    "ord-2044": ("shipping.execute=unavailable, payment.compensate=unavailable:2", "compensated"),
    "ord-2045": ("shipping.execute=rejected, payment.compensate=not_reversible", "needs_attention"),
    "ord-2046": ("payment.execute=rejected", "compensated"),
}
"""What is ordered of the sandbox for each, and how it ends."""

LONG = {
    "ord-2047": ("inventory.execute=timeout_after_effect", "running"),
    "ord-2048": ("shipping.execute=rejected, payment.compensate=unavailable", "compensating"),
}
"""What is still under way when somebody looks."""


@contextlib.contextmanager
def a_shop(folder: Path, *, port: int | None = None, **env: str) -> Iterator[Running]:
    """Run a service on a database of its own, without any saga."""
    settings = {
        "DATABASE_URL": f"sqlite:///{folder / 'checkout.db'}",
        "SANDBOX_DATABASE": str(folder / "sandbox.db"),
        "CHECKOUT_RETRY_BASE_SECONDS": "0.05",
        "CHECKOUT_RETRY_CAP_SECONDS": "0.2",
        "SANDBOX_LATENCY_SECONDS": "0.04",
        **env,
    }
    with a_checkout(settings, folder / "log", port=port) as shop:
        yield shop


def check_out(shop: Running, order_id: str, simulate: str = "", *, wait: int = 20) -> dict[str, Any]:
    """Send one order; return the saga as it stands after `wait` seconds at the latest."""
    given = {"Idempotency-Key": order_id, "Prefer": f"wait={wait}"}
    if simulate:
        given["X-Simulate"] = simulate
    answer = httpx.post(
        f"{shop.url}/checkout",
        json=an_order(order_id),
        headers=given,
        timeout=30.0,
        trust_env=False,
        verify=False,
    )
    body: dict[str, Any] = answer.json()
    saga: dict[str, Any] = body.get("saga", body)
    return saga


def fill(shop: Running) -> dict[str, dict[str, Any]]:
    """Send an order for every state; return the sagas by order."""
    found = {}
    for order_id, (simulate, status) in STATES.items():
        found[order_id] = check_out(shop, order_id, simulate)
        assert found[order_id]["status"] == status, found[order_id]
    return found


def give_it_a_past(database: Path, *, now: datetime | None = None, sagas: int = PAST) -> None:
    """Copy the finished sagas into the last day, as often as it takes for `sagas` of them."""
    chance, now = random.Random(7), now or datetime.now(UTC)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        finished = connection.execute("SELECT * FROM saga WHERE finished_at IS NOT NULL").fetchall()
        done = [row for row in finished if row["status"] == "completed"]
        for number in range(sagas):
            source = chance.choice(done if chance.random() < 0.9 else finished)
            ago = timedelta(hours=chance.random() if number % 2 else 24 * chance.random())
            _copy(connection, source, now - ago, f"ord-{1000 + number}", chance)
        connection.commit()


def _copy(
    connection: sqlite3.Connection, source: sqlite3.Row, begin: datetime, order_id: str, chance: random.Random
) -> None:
    saga_id = first_id(begin)[:19] + str(uuid.UUID(int=chance.getrandbits(128)))[19:]
    first = datetime.fromisoformat(source["created_at"])
    stretch = chance.lognormvariate(0, 0.5)

    def moved(at: str | None) -> str | None:
        return at and instant_text(begin + (datetime.fromisoformat(at) - first) * stretch)

    row = dict(source)
    order = json.loads(row["input"])
    order["order_id"] = order_id
    row |= {"id": saga_id, "order_id": order_id, "idempotency_key": None, "input": json.dumps(order)}
    row |= {name: moved(row[name]) for name in ("created_at", "updated_at", "finished_at")}
    _insert(connection, "saga", row)
    for line in connection.execute("SELECT * FROM saga_log WHERE saga_id = ?", (source["id"],)).fetchall():
        _insert(connection, "saga_log", {**line, "saga_id": saga_id, "at": moved(line["at"])})


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    columns = ", ".join(row)
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(row.values()))  # noqa: S608 (our own columns)
