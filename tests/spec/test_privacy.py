"""No log line and no metric ever tells what a customer entrusted to the service, whatever goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2 as httpx
import pytest

from tests.processes import a_checkout, an_order, the_services, urls_of

NAME = "Zebulon Quatermain"
EMAIL = "zebulon@quatermain.example"
LINE = "7 Umbrella Crescent"
CITY = "Ouagadougou"
POSTAL = "QX77PL"
TOKEN = "tok_zebra4242"
CUSTOMER = "cus-zanzibar"
ORDER = "ord-zeppelin"
SKU = "SKU-ZITHER"
NOTE = "%s {0} ${jndi:ldap://zouave} \x1b[31m'; DROP TABLE saga; -- \\u0000"
OURS = (
    *("Zebulon", "Quatermain", "quatermain", "Umbrella", "Ouagadougou", "QX77PL"),
    *("zebra4242", "zanzibar", "zeppelin", "ZITHER", "jndi", "zouave", "DROP TABLE"),
)
SETTINGS = {
    "CHECKOUT_LOG_LEVEL": "debug",
    "UVICORN_LOG_LEVEL": "debug",
    "SANDBOX_DATABASE": ":memory:",
    "CHECKOUT_RETRY_BASE_SECONDS": "0.001",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.01",
    "CHECKOUT_COMPENSATION_MAX_ATTEMPTS": "2",
    "CHECKOUT_MAX_BODY_BYTES": "4000",
}


def a_customers_order(**changes: Any) -> dict[str, Any]:
    """Return an order of which every word can be recognised."""
    order = an_order(
        f"{ORDER}-{uuid4().hex[:8]}",
        customer_id=CUSTOMER,
        payment_method=TOKEN,
        items=[{"sku": SKU, "quantity": 1, "unit_price": 1999}],
        shipping_address={
            "name": NAME,
            "line1": LINE,
            "line2": NOTE.replace("\x1b", ""),
            "city": CITY,
            "postal_code": POSTAL,
            "country": "FR",
        },
        metadata={"email": EMAIL, "note": NAME},
    )
    return {**order, **changes}


def everything_that_can_be_asked(client: httpx.Client) -> dict[int, int]:
    """Check out, in success and in trouble, send what can't be read, and look; return the statuses."""
    statuses: dict[int, int] = {}

    def ask(method: str, path: str, **given: Any) -> httpx.Response:
        answer = client.request(method, path, **given)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        return answer

    simulated = (
        *("", "shipping.execute=rejected", "payment.execute=timeout_after_effect:1"),
        *("inventory.execute=unavailable", "payment.execute=timeout_before_effect"),
        *("shipping.execute=rejected, payment.compensate=not_reversible",),
        *("shipping.execute=rejected, inventory.compensate=timeout_after_effect",),
    )
    key = f"key-{ORDER}"
    for simulate in simulated:
        headers = {"X-Simulate": simulate} if simulate else {"Idempotency-Key": key}
        order = a_customers_order()
        saga = ask("POST", "/checkout", json=order, headers=headers).json()
        ask("POST", "/checkout", json=order)
        ask("POST", "/checkout", json=a_customers_order(), headers={"Idempotency-Key": key})
        saga_id = saga.get("id") or saga.get("saga", {}).get("id")
        for action in ("cancel", "retry"):
            ask("POST", f"/sagas/{saga_id}/{action}", json={"reason": f"{NAME} called"})
        resolution = {"step": "payment", "reason": NAME, "reference": "TR-7"}
        ask("POST", f"/sagas/{saga_id}/resolve", json=resolution)
    unknown_country = {**a_customers_order()["shipping_address"], "country": NAME}
    for order in (
        a_customers_order(shipping_address=unknown_country),
        a_customers_order(amount=NAME, **{EMAIL: EMAIL}),
        a_customers_order(items=[{"sku": SKU, "quantity": NAME, "unit_price": 1e400}]),
        a_customers_order(customer_id=f"{CUSTOMER}\x00\ud800"),
        a_customers_order(metadata={"email": EMAIL * 1000}),
        a_customers_order(payment_method=[TOKEN]),
    ):
        body = json.dumps(order).encode()
        ask("POST", "/checkout", content=body, headers={"Content-Type": "application/json"})
    for body, media_type in (
        (f'{{"customer_id": "{CUSTOMER}", "name": {NAME}'.encode(), "application/json"),
        (f'{{"customer_id": "{CUSTOMER}"}}'.encode("utf-16"), "application/json"),
        (NAME.encode(), f"text/{NAME.replace(' ', '-')}"),
    ):
        ask("POST", "/checkout", content=body, headers={"Content-Type": media_type})
    for name in ("Idempotency-Key", "X-Simulate", "Prefer", "Last-Event-ID", "X-Request-ID"):
        ask("POST", "/checkout", json=a_customers_order(), headers={name: f'"{NAME}" {EMAIL}'})
    ask("POST", "/checkout", json=a_customers_order(), headers={"Authorization": f"Bearer {TOKEN}"})
    for path in (
        f"/sagas?customer_id={CUSTOMER}",
        f"/sagas?order_id={ORDER}&status={CITY}",
        f"/sagas?cursor={POSTAL}&{EMAIL}=1",
        f"/sagas/{CUSTOMER}",
        f"/{NAME}/{LINE}",
        f"/problems/{CITY}",
        "/readyz",
    ):
        ask("GET", path)
    ask(CITY.upper(), f"/sagas/{CUSTOMER}")
    ask("PUT", f"/checkout?email={EMAIL}", json=a_customers_order())
    return statuses


def told(text: str) -> list[str]:
    """Return the lines that tell something of the customer."""
    return [line for line in text.splitlines() if any(word in line for word in OURS)]


@contextmanager
def the_services_where_wanted(tmp_path: Path, *, remote: bool) -> Iterator[dict[str, str]]:
    """Run the services as processes of their own; give the environment that leads to them, or to the sandbox."""
    if not remote:
        yield {}
        return
    with the_services(tmp_path, SETTINGS) as services:
        yield urls_of(services) | {"SANDBOX_REMOTE": "true", "CHECKOUT_STEP_TIMEOUT_SECONDS": "0.3"}


@pytest.mark.parametrize(("database", "remote"), [("sqlite_url", False), ("postgres_url", True)])
def test_neither_a_log_nor_a_metric_tells_of_a_customer(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, *, remote: bool
) -> None:
    """Through successes, failures, refusals and nonsense, at the level debug, the server's own lines included."""
    url = request.getfixturevalue(database)
    with the_services_where_wanted(tmp_path, remote=remote) as services:
        log = tmp_path / "checkout.log"
        with (
            a_checkout({**SETTINGS, **services, "DATABASE_URL": url}, log) as server,
            httpx.Client(base_url=server.url, trust_env=False, verify=False, timeout=60.0) as client,
        ):
            statuses = everything_that_can_be_asked(client)
            metrics = client.get("/metrics").text
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["logger"] for line in lines} >= {"app.access", "app.saga", "uvicorn.error"}
    assert {line["event"] for line in lines} >= {"request", "saga_completed", "saga_needs_attention"}
    assert {201, 400, 404, 405, 409, 415, 422, 503} <= set(statuses), statuses
    assert told("".join(log.read_text() for log in tmp_path.glob("*.log"))) == []
    assert told(metrics) == []
