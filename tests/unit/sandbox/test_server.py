"""The sandbox as an HTTP service: the contract's status codes, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from app.sandbox.__main__ import arguments
from app.sandbox.server import sandbox_app
from app.services import Participant, Sandbox
from tests.processes import the_services
from tests.unit.gateway.network import serving

CHARGE = {
    "order_id": "o",
    "customer_id": "c",
    "amount": 3998,
    "currency": "EUR",
    "payment_method": "tok_visa",
    "capture": "deferred",
}


@pytest.fixture
def sandbox() -> Sandbox:
    """Give the sandbox behind the server; late answers come at once."""
    return Sandbox(late_seconds=0)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the payment service on a real socket."""
    app = sandbox_app(Participant.PAYMENT, sandbox, max_body_bytes=2000)
    async with (
        serving(app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=30) as client,
    ):
        yield client


async def test_the_contracts_way_through_a_payment(client: httpx.AsyncClient) -> None:
    path = "/payments/r"
    statuses = [
        (await client.get(path)).status_code,
        (await client.put(path, json=CHARGE)).status_code,
        (await client.put(path, json=CHARGE)).status_code,
        (await client.put(path, json={**CHARGE, "amount": 1})).status_code,
        (await client.get(path)).status_code,
        (await client.put(f"{path}/capture")).status_code,
        (await client.put(f"{path}/capture")).status_code,
        (await client.delete(path)).status_code,
        (await client.delete(path)).status_code,
        (await client.get(path)).status_code,
        (await client.put(path, json=CHARGE)).status_code,
        (await client.put(f"{path}/capture")).status_code,
    ]
    assert statuses == [404, 201, 200, 409, 200, 200, 200, 200, 200, 410, 410, 410]


def complaint(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    return answer.status_code, problem["code"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"amount": "3998"}, "/amount"),
        ({"amount": True}, "/amount"),
        ({"amount": 1.0}, "/amount"),
        ({"amount": -1}, "/amount"),
        ({"currency": "eur"}, "/currency"),
        ({"currency": "EUR\n"}, "/currency"),
        ({"capture": "later"}, "/capture"),
        ({"customer_id": "\ud800"}, "/customer_id"),
        ({"order_id": ""}, "/order_id"),
        ({"payment_method": None}, "/payment_method"),
    ],
)
async def test_a_body_is_checked_and_the_member_named(
    client: httpx.AsyncClient, changes: dict[str, Any], where: str
) -> None:
    body = json.dumps({**CHARGE, **changes})
    answer = await client.put("/payments/r", content=body, headers={"content-type": "application/json"})
    assert complaint(answer) == (400, "invalid_request")
    assert answer.json()["pointer"] == where
    assert (await client.get("/payments/r")).status_code == 404


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b'{"amount": NaN}', "application/json", 400, "malformed_json"),
        (b"\xff", "application/json", 400, "malformed_json"),
        (b"[" * 1500, "application/json", 400, "malformed_json"),
        (b"[]", "application/json", 400, "invalid_request"),
        (b"{}", "text/plain", 415, "not_json"),
        (b" " * 2001, "application/json", 413, "body_too_large"),
    ],
)
async def test_what_is_no_json_object_is_refused(
    client: httpx.AsyncClient, content: bytes, content_type: str, status: int, code: str
) -> None:
    answer = await client.put("/payments/r", content=content, headers={"content-type": content_type})
    assert complaint(answer) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/reservations/r", 404, "no_such_path"),
        ("GET", "/payments", 404, "no_such_path"),
        ("PUT", "/payments/r/refund", 404, "no_such_path"),
        ("PUT", "/payments/r/capture/x", 404, "no_such_path"),
        ("POST", "/payments/r", 405, "method_not_allowed"),
        ("DELETE", "/payments/r/capture", 405, "method_not_allowed"),
        ("GET", "/payments/" + "x" * 65, 400, "invalid_reference"),
        ("GET", "/payments/%00", 400, "invalid_reference"),
        ("GET", "/payments/", 400, "invalid_reference"),
    ],
)
async def test_what_the_contract_does_not_know_is_refused(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    assert complaint(await client.request(method, path)) == (status, code)


async def test_a_simulation_that_cannot_be_read_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.put("/payments/r", json=CHARGE, headers={"x-simulate": "payment.execute=x"})
    assert complaint(answer) == (400, "bad_simulation")


async def test_out_of_stock_names_the_skus() -> None:
    lines = [{"sku": "T", "quantity": 1}, {"sku": "OUT-OF-STOCK-1", "quantity": 1}]
    async with (
        serving(sandbox_app(Participant.INVENTORY, Sandbox())) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client,
    ):
        answer = await client.put("/reservations/r", json={"order_id": "o", "items": lines})
    assert complaint(answer) == (409, "out_of_stock")
    assert answer.json()["skus"] == ["OUT-OF-STOCK-1"]


@pytest.mark.parametrize(
    ("fault", "effect"), [("timeout_before_effect", {}), ("timeout_after_effect", {"EUR": 3998})]
)
async def test_a_silent_service_hangs_until_the_client_goes(
    client: httpx.AsyncClient, sandbox: Sandbox, fault: str, effect: dict[str, int]
) -> None:
    headers = {"x-simulate": f"payment.execute={fault}"}
    hanging = asyncio.create_task(client.put("/payments/r", json=CHARGE, headers=headers))
    while not await sandbox.ledger.records():  # noqa: ASYNC110 (the ledger notifies nobody)
        await asyncio.sleep(0)
    assert not hanging.done()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert [s.effect for s in await sandbox.ledger.states() if s.effect] == ([effect] if effect else [])


async def test_what_is_late_comes_although_nobody_waits_any_more(
    client: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    headers = {"x-simulate": "payment.execute=late_effect"}
    hanging = asyncio.create_task(client.put("/payments/r", json=CHARGE, headers=headers))
    while not await sandbox.ledger.states():  # noqa: ASYNC110 (the ledger notifies nobody)
        await asyncio.sleep(0)
    assert not hanging.done()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


async def test_a_checker_reads_what_happened_and_what_stands(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "alive"}
    await client.put("/payments/r", json=CHARGE, headers={"idempotency-key": "key"})
    records = (await client.get("/records")).json()
    assert [record["phase"] for record in records] == ["arrived", "applied", "replied"]
    assert records[0]["idempotency_key"] == "key"
    assert (await client.get("/records", params={"after": records[1]["seq"]})).json() == records[2:]
    (states,) = (await client.get("/standing")).json()
    assert (states["service"], states["reference"], states["effect"]) == ("payment", "r", {"EUR": 3998})


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_DATABASE", "env.db")
    monkeypatch.setenv("SANDBOX_FAILURE_RATE", "0.3")
    monkeypatch.setenv("SANDBOX_SEED", "7")
    monkeypatch.setenv("SANDBOX_LATENCY_SECONDS", "")
    given = arguments(["payment", "--database", "mine.db"])
    assert (given.database, given.failure_rate, given.seed, given.latency_seconds) == ("mine.db", 0.3, 7, 0)


@pytest.mark.parametrize(
    "wrong", [["billing"], ["payment", "--failure-rate", "2"], ["payment", "--hang-seconds", "x"]]
)
def test_a_command_line_that_is_wrong_is_refused(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments(wrong)
    assert "error" in capsys.readouterr().err


def test_the_three_services_run_as_processes_and_remember(tmp_path: Path) -> None:
    for status in (201, 200):
        with the_services(tmp_path) as services:
            url = services["payment"].url + "/payments/r"
            assert httpx.put(url, json=CHARGE, trust_env=False, verify=False).status_code == status
            services["payment"].kill()
