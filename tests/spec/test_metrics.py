"""GET /metrics of the real service."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from app.settings.settings import Settings
from tests.in_process import a_service
from tests.processes import Running, a_checkout, an_order


async def test_a_scrape_tells_what_happened_and_nobodys_data(database_url: str) -> None:
    """Outcomes, steps, the journal, routes by their template; no id, no customer."""
    settings = Settings(
        database_url=SecretStr(database_url), sandbox_database=":memory:", retry_base_seconds=0.001
    )
    async with a_service(settings, "http://checkout") as client:
        saga = (await client.post("/checkout", json=an_order("ord-secret-1"))).json()
        await client.post("/checkout", json=an_order("ord-secret-2", payment_method="tok_declined"))
        await client.get(f"/sagas/{saga['id']}")
        await client.get("/sagas/unknown")
        text = (await client.get("/metrics")).text
    for line in (
        'checkout_sagas_finished_total{outcome="completed"} 1.0',
        'checkout_sagas_finished_total{outcome="compensated"} 1.0',
        'checkout_step_answers_total{action="execute",outcome="failed",step="payment"} 1.0',
        'checkout_http_requests_total{method="POST",route="/checkout",status="2xx"} 1.0',
        'checkout_http_requests_total{method="GET",route="/sagas/{saga_id}",status="4xx"} 1.0',
        'checkout_problems_total{problem="not_found"} 1.0',
        "checkout_lease_held 1.0",
        "checkout_database_up 1.0",
        "checkout_database_away 0.0",
        "checkout_backlog_up 1.0",
        "checkout_sagas_unscheduled 0.0",
        'checkout_sagas{status="running"} 0.0',
    ):
        assert line in text.splitlines()
    assert "checkout_journal_batch_size_count" in text
    assert "checkout_outbox_lag_seconds{" not in text
    for secret in (saga["id"], "ord-secret", "cus-7", "Ada", "tok_"):
        assert secret not in text


def test_it_can_be_scraped_with_a_key_while_the_database_is_away(tmp_path: Path) -> None:
    """Else no alert could say that it is; all else that needs a key is 503."""
    file = tmp_path / "checkout.db"
    env = {
        "DATABASE_URL": f"sqlite:///{file}",
        "SANDBOX_DATABASE": ":memory:",
        "CHECKOUT_KEY_CACHE_SECONDS": "0",
    }
    with (
        a_checkout(env, tmp_path / "service.log") as server,
        httpx.Client(base_url=server.url, trust_env=False, verify=False, timeout=60) as client,
    ):
        wanted = {
            "caller": "ops",
            "who": "prometheus",
            "scopes": ["read", "checkout", "operate", "keys"],
            "everyone": True,
        }
        made = client.post("/keys", json=wanted)
        assert made.status_code == 201, made.text
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        assert "checkout_backlog_up 1.0" in client.get("/metrics", headers=key).text
        file.rename(tmp_path / "elsewhere.db")
        assert client.get("/sagas", headers=key).status_code == 503
        scraped = client.get("/metrics", headers=key)
        assert scraped.status_code == 200
        assert "checkout_database_up " in scraped.text
        unknown = {"Authorization": f"Bearer {made.json()['key'][:-1]}~"}
        assert client.get("/metrics", headers=unknown).status_code == 401


def _scraped(server: Running) -> dict[str, float]:
    """Return each figure by its name, summed over its labels, from whichever worker takes this connection."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False, verify=False, timeout=60).text
    found: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value
    return dict(found)


def _until(server: Running, holds: Callable[[dict[str, float]], bool]) -> None:
    """Scrape until it holds, from a worker of the kernel's choice each time; a busy machine starts one in seconds."""
    deadline = time.monotonic() + 60
    while not holds(found := _scraped(server)):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_the_workers_of_a_server_count_together(tmp_path: Path, sqlite_url: str) -> None:
    """Whichever is scraped: a counter never goes down, what is under way is summed, and who ended is counted still."""
    env = {
        "DATABASE_URL": sqlite_url,
        "SANDBOX_DATABASE": str(tmp_path / "sandbox.db"),
        "TMPDIR": str(tmp_path),
        "CHECKOUT_MAX_WAIT_SECONDS": "60",
    }
    with a_checkout(env, tmp_path / "log", options=("--workers", "2")) as server:
        for n in range(12):
            answer = httpx.post(
                f"{server.url}/checkout", json=an_order(f"o-{n}"), trust_env=False, verify=False, timeout=60
            )
            assert answer.status_code == 201
        _until(
            server, lambda found: found["checkout_sagas_finished_total"] == 12
        )  # each adds its own in a second
        seen = [_scraped(server) for _ in range(20)]
        assert {one["checkout_sagas_started_total"] for one in seen} == {12}
        assert {one["checkout_sagas_finished_total"] for one in seen} == {12}
        requests = [one["checkout_http_requests_total"] for one in seen]
        assert requests == sorted(requests)
        assert {one["checkout_backlog_up"] for one in seen} == {1}
        _until(server, lambda found: found["checkout_lease_held"] == 1)
        folder = next(tmp_path.glob("checkout-metrics-*"))
        workers = {int(path.stem.rpartition("_")[2]) for path in folder.glob("counter_*.db")}
        assert len(workers) == 2
        os.kill(workers.pop(), signal.SIGKILL)
        _until(server, lambda _: len(list(folder.glob("counter_*.db"))) == 3)  # the server begins another
        assert {_scraped(server)["checkout_sagas_started_total"] for _ in range(10)} == {12}
        assert len(list(folder.glob("gauge_livesum_*.db"))) == 2
