"""Real processes: the services over HTTP, replicas that are killed, and books that balance afterwards."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.chaos.recording_client import NO_ANSWER, RecordingClient, saga_id_in, shows_a_saga, words_of
from tests.processes import (
    ADDRESS,
    SERVICES,
    Running,
    a_checkout,
    an_order,
    free_port,
    the_services,
    urls_of,
)

ORDERS = 200
SETTLED_SECONDS = 90.0
QUICK = {
    "CHECKOUT_LEASE_SECONDS": "1.5",
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.2",
    "CHECKOUT_RETRY_BASE_SECONDS": "0.05",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.5",
    "CHECKOUT_STEP_TIMEOUT_SECONDS": "1",
    "CHECKOUT_LOG_LEVEL": "warning",
}


def _standing(services: dict[str, Running]) -> dict[str, Counter[str]]:
    """Return how many effects each saga has left at each service, by the service's own books."""
    standing = {}
    for name, server in services.items():
        answer = httpx.get(f"{server.url}/standing", trust_env=False, verify=False, timeout=60.0)
        rows = answer.raise_for_status().json()
        standing[name] = Counter(row["reference"] for row in rows if any(row["effect"].values()))
    return standing


def _balance(sagas: list[dict[str, Any]], standing: dict[str, Counter[str]]) -> None:
    """A completed saga has one standing effect per service, a compensated one none, and nobody else has any."""
    wanted = Counter(saga["id"] for saga in sagas if saga["status"] == "completed")
    for name in SERVICES:
        assert standing[name] == wanted, f"the books of {name} differ from the sagas"
    for saga in sagas:
        assert [event["seq"] for event in saga["trail"]] == list(range(1, len(saga["trail"]) + 1))


def _freeze(services: dict[str, Running]) -> None:
    for server in services.values():
        server.process.send_signal(signal.SIGSTOP)


def _thaw(services: dict[str, Running]) -> None:
    for server in services.values():
        server.process.send_signal(signal.SIGCONT)


def test_200_orders_over_http_on_two_replicas_leave_balanced_books(postgres_url: str, tmp_path: Path) -> None:
    """Three in ten calls fail, and one replica is killed halfway: no charge is lost, none doubled."""
    faults = {
        "SANDBOX_FAILURE_RATE": "0.3",
        "SANDBOX_SEED": "7",
        "SANDBOX_HANG_SECONDS": "2",
    }
    client = RecordingClient()
    with the_services(tmp_path, faults) as services:
        env = {"DATABASE_URL": postgres_url, **urls_of(services), **QUICK}
        with (
            a_checkout(env, tmp_path / "a.log") as first,
            a_checkout(env, tmp_path / "b.log") as second,
        ):
            accepted: list[str] = []

            def place(number: int) -> None:
                """Place an order at either replica; where the one that is killed doesn't answer, at the other."""
                key, headers = f"key-{number}", {"Prefer": "respond-async"}
                at_once = (first, second) if number % 2 else (second, first)
                for server in at_once:
                    with contextlib.suppress(*NO_ANSWER):
                        answer = client.post(server, an_order(f"ord-{number}"), key, headers)
                        if shows_a_saga(answer):
                            accepted.append(saga_id_in(answer))
                            return
                answer = client.placed(second, an_order(f"ord-{number}"), key, headers)
                accepted.append(saga_id_in(answer))

            with ThreadPoolExecutor(16) as pool:
                list(pool.map(place, range(ORDERS // 2)))
                first.kill()
                list(pool.map(place, range(ORDERS // 2, ORDERS)))
            sagas = client.settled(second, accepted, seconds=SETTLED_SECONDS)

        assert len(set(accepted)) == ORDERS
        statuses = Counter(saga["status"] for saga in sagas)
        assert set(statuses) == {"completed", "compensated"}, (
            "a run without failures, or with lost ones, proves nothing"
        )
        assert any(event["event"] == "saga_recovered" for saga in sagas for event in saga["trail"])
        _balance(sagas, _standing(services))


def test_killed_in_mid_flight_and_restarted_all_sagas_finish(database_url: str, tmp_path: Path) -> None:
    """What was accepted before `kill -9` is finished by the next process, forward or backward."""
    with the_services(tmp_path, {"SANDBOX_LATENCY_SECONDS": "0.1"}) as services:
        env = {
            "DATABASE_URL": database_url,
            **urls_of(services),
            **QUICK,
            "CHECKOUT_STEP_TIMEOUT_SECONDS": "30",
        }
        port = free_port()
        client, accepted = RecordingClient(), list[str]()
        with a_checkout(env, tmp_path / "before.log", port=port) as doomed:
            for number in range(20):
                if (
                    number == 10
                ):  # so that half of them are under way at the kill, however slow the machine is
                    _freeze(services)
                order = an_order(f"ord-{number}")
                if number % 4 == 3:
                    order = an_order(f"ord-{number}", shipping_address=ADDRESS | {"country": "XX"})
                answer = client.placed(doomed, order, f"key-{number}", {"Prefer": "respond-async"})
                assert answer.status_code == 202, answer.text
                accepted.append(saga_id_in(answer))
            page = client.found(doomed, f"/sagas?limit={len(accepted)}")
            under_way = Counter(saga["status"] for saga in page["data"])
            doomed.kill()
        assert under_way["running"] + under_way["compensating"] >= 10, "the kill proves nothing"
        _thaw(services)

        with a_checkout(env, tmp_path / "after.log", port=port) as server:
            sagas = client.settled(server, accepted, seconds=SETTLED_SECONDS)
        assert Counter(saga["status"] for saga in sagas) == {
            "completed": 15,
            "compensated": 5,
        }
        _balance(sagas, _standing(services))


def test_a_service_that_is_told_to_stop_answers_and_hands_over(database_url: str, tmp_path: Path) -> None:
    """SIGTERM: every open request gets an answer, the process ends with 0, the next one takes over at once."""
    client = RecordingClient()
    with the_services(tmp_path) as services:
        env = {
            "DATABASE_URL": database_url,
            **urls_of(services),
            **QUICK,
            "CHECKOUT_STEP_TIMEOUT_SECONDS": "30",
            "CHECKOUT_LEASE_SECONDS": "60",
            "CHECKOUT_DRAIN_SECONDS": "1",
        }
        with (
            a_checkout(env, tmp_path / "before.log") as stopping,
            ThreadPoolExecutor(1) as pool,
        ):
            _freeze(services)  # so that the drain ends before the saga, however slow the machine is
            asked = pool.submit(client.post, stopping, an_order("ord-1"), "key-1")
            give_up = time.monotonic() + SETTLED_SECONDS
            while not client.found(stopping, "/sagas")["data"]:
                assert time.monotonic() < give_up, "it was never started"
                time.sleep(0.02)  # another process's work can only be looked for
            stopping.process.terminate()
            answer = asked.result(timeout=SETTLED_SECONDS)
            assert stopping.process.wait(timeout=SETTLED_SECONDS) == 0
        _thaw(services)
        assert answer.status_code == 202
        with a_checkout(env, tmp_path / "after.log") as server:
            (saga,) = client.settled(server, [saga_id_in(answer)], seconds=SETTLED_SECONDS)
        assert saga["status"] == "completed"
        assert "saga_recovered" in words_of(saga)


@pytest.mark.parametrize(
    "setting",
    ["DATABASE_URL=mysql://x/y", "CHECKOUT_LEASE_SECONDS=-1", "PAYMENT_URL=payment:80"],
)
def test_a_setting_that_is_wrong_stops_the_start_with_a_sentence(setting: str, tmp_path: Path) -> None:
    """Nothing begins half configured. The first is started from nothing, the others are forked."""
    name, _, value = setting.partition("=")
    log = tmp_path / "log"
    fresh = name == "DATABASE_URL"
    with (
        pytest.raises(AssertionError, match="did not become ready"),
        a_checkout({name: value}, log, fresh=fresh),
    ):
        pytest.fail("it started")
    said = log.read_text()
    assert name in said or name.lower().removeprefix("checkout_") in said.lower() or "DATABASE_URL" in said
