"""An operator's actions through replicas that don't own the saga, also while those that do are killed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.chaos.recording_client import RecordingClient, saga_id_in, words_of
from tests.processes import ADDRESS, Running, a_checkout, an_order, the_services, together, urls_of

SETTLED_SECONDS = 60.0
ENV = {
    "CHECKOUT_LEASE_SECONDS": "2",
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.2",
    "CHECKOUT_RETRY_BASE_SECONDS": "0.01",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.05",
    "CHECKOUT_COMPENSATION_MAX_ATTEMPTS": "3",
    "SANDBOX_REMOTE": "true",
}
FAR = {"shipping_address": {**ADDRESS, "country": "XX"}}


def _act(
    server: Running,
    saga_id: str,
    action: str,
    *,
    wait: int = 20,
    headers: dict[str, str] | None = None,
    **body: str,
) -> httpx.Response:
    return httpx.post(
        f"{server.url}/sagas/{saga_id}/{action}",
        json={"reason": "The customer called.", **body},
        headers={"Prefer": f"wait={wait}", **(headers or {})},
        timeout=60.0,
        trust_env=False,
        verify=False,
    )


def _started(client: RecordingClient, server: Running, order_id: str, **headers: str) -> str:
    named = {"Prefer": "respond-async"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return saga_id_in(client.placed(server, an_order(order_id), order_id, named))


def test_a_saga_is_cancelled_through_a_replica_that_does_not_own_it(
    postgres_url: str, tmp_path: Path
) -> None:
    """The owner waits for its action, ends its pauses, and undoes what was done; where it dies another does."""
    client = RecordingClient()
    with the_services(tmp_path, {"SANDBOX_LATENCY_SECONDS": "0.3"}) as services:
        env = {"DATABASE_URL": postgres_url, **urls_of(services), **ENV}
        patient = {"CHECKOUT_RETRY_BASE_SECONDS": "60", "CHECKOUT_RETRY_CAP_SECONDS": "60"}
        waits = {"CHECKOUT_PARK_AFTER_SECONDS": "1000"}
        with together(
            a_checkout({**env, **patient, **waits}, tmp_path / "a.log"),
            a_checkout(env, tmp_path / "b.log"),
            a_checkout({**env, **patient}, tmp_path / "c.log"),
        ) as (owner, other, parking):
            under_way = _started(client, owner, "under-way")
            assert _act(other, under_way, "cancel").json()["status"] == "compensated"
            paused: list[str] = []
            down = "inventory.execute=unavailable"
            for server, order_id in ((owner, "in-back-off"), (parking, "parked")):
                paused.append(waiting := _started(client, server, order_id, X_Simulate=down))
                give_up = time.monotonic() + SETTLED_SECONDS
                while "step_retried" not in words_of(client.found(other, f"/sagas/{waiting}")):
                    assert time.monotonic() < give_up, "it was never retried"
                    time.sleep(0.05)  # another process's step can only be looked for
                cancelled = _act(other, waiting, "cancel")
                assert (cancelled.status_code, cancelled.json()["status"]) == (200, "compensated")
            with ThreadPoolExecutor(8) as pool:
                many = list(pool.map(lambda n: _started(client, owner, f"many-{n}"), range(16)))
                statuses = list(pool.map(lambda saga_id: _act(other, saga_id, "cancel").status_code, many))
            orphan = _started(client, owner, "orphan")
            assert _act(other, orphan, "cancel", wait=0).status_code == 202
            owner.kill()
            sagas = client.settled(other, [under_way, *paused, *many, orphan], seconds=SETTLED_SECONDS)
        assert set(statuses) <= {200, 409}
        by_id: dict[str, Any] = {saga["id"]: saga for saga in sagas}
        assert by_id[orphan]["status"] == "compensated"
        assert by_id[orphan]["cancel"]["reason"] == "The customer called."
        for saga_id, status in zip(many, statuses, strict=True):
            saga = by_id[saga_id]
            assert (saga["status"], "cancel_requested" in words_of(saga)) == (
                ("compensated", True) if status == 200 else ("completed", False)
            )
        client.prove(services, deaths=1)


def test_a_refund_that_can_never_succeed_is_found_understood_and_settled_by_the_api(
    database_url: str, tmp_path: Path
) -> None:
    """It needs attention within its budget while the goods went back; its trail says who settled it, and why."""
    client = RecordingClient()
    with the_services(tmp_path) as services:
        env = {"DATABASE_URL": database_url, **urls_of(services), **ENV}
        with a_checkout(env, tmp_path / "log") as server:
            simulate = {"X-Simulate": "payment.compensate=not_reversible, inventory.compensate=unavailable:2"}
            placed = client.post(server, an_order("stuck", **FAR), "stuck", simulate)
            assert placed.status_code == 202

            (found,) = client.found(server, "/sagas?status=needs_attention")["data"]
            assert found["id"] == saga_id_in(placed)
            shown = {step["name"]: (step["status"], step["compensation"]) for step in found["steps"]}
            assert shown["inventory"][0] == "compensated"
            assert shown["payment"][0] == "compensation_failed"
            assert shown["payment"][1]["error"]["code"] == "not_reversible"

            etag = client.get(server, f"/sagas/{found['id']}").headers["etag"]
            again = _act(server, found["id"], "retry", headers={"If-Match": etag})
            assert (again.status_code, again.json()["status"]) == (200, "needs_attention")
            late = _act(server, found["id"], "resolve", step="payment", headers={"If-Match": etag})
            assert late.status_code == 412, "somebody else has acted since"
            settled = _act(server, found["id"], "resolve", step="payment", reference="transfer 4711")
            assert (settled.status_code, settled.json()["status"]) == (200, "compensated")

            saga = client.found(server, f"/sagas/{found['id']}")
            assert [
                (line["event"], line["who"], line["reason"], line.get("reference"))
                for line in saga["trail"]
                if "who" in line
            ] == [
                ("retry_requested", "local", "The customer called.", None),
                ("step_resolved", "local", "The customer called.", "transfer 4711"),
            ]
            assert client.found(server, "/sagas?status=needs_attention")["data"] == []
        client.prove(services, deaths=0)
