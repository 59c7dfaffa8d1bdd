"""GET /metrics of the real service."""

from __future__ import annotations

import httpx2 as httpx
from pydantic import SecretStr

from app.api import create_api
from app.bootstrap import api_settings, open_service
from app.config import Settings
from tests.processes import an_order


async def test_a_scrape_tells_what_happened_and_nobodys_data(database_url: str) -> None:
    """Outcomes, steps, the journal, routes by their template; no id, no customer."""
    settings = Settings(
        database_url=SecretStr(database_url), sandbox_database=":memory:", retry_base_seconds=0.001
    )
    app = create_api(lambda: open_service(settings), api_settings(settings))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://checkout") as client,
    ):
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
        "checkout_database_away 0.0",
        "checkout_census_up 1.0",
        "checkout_sagas_without_wakeup 0.0",
        'checkout_sagas{status="running"} 0.0',
    ):
        assert line in text.splitlines()
    assert "checkout_journal_batch_size_count" in text
    assert "checkout_outbox_lag_seconds{" not in text
    for secret in (saga["id"], "ord-secret", "cus-7", "Ada", "tok_"):
        assert secret not in text
