"""X-Simulate on POST /checkout."""

from __future__ import annotations

import pytest

from app.api import ApiSettings
from tests.unit.api.served import problem, served

SANDBOX = ApiSettings(simulate_allowed=True)


async def test_the_steps_are_told_what_to_simulate_as_it_was_written() -> None:
    async with served(SANDBOX) as api:
        written = "shipping.execute=timeout_after_effect, payment.compensate=unavailable:2"
        assert (await api.post(X_Simulate=written)).status_code == 201
        assert api.payment.executed[0]["simulate"] == written
        assert written not in (await api.get("/sagas")).text


async def test_without_the_header_nothing_is_simulated() -> None:
    async with served(SANDBOX) as api:
        await api.post()
        assert "simulate" not in api.payment.executed[0]


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("", "''"),
        ("payment.execute", "payment.execute"),
        ("payment.execute=rejected, loyalty.execute=rejected", "loyalty"),
        ("payment.execute=explodes", "explodes"),
        ("payment.execute=rejected, payment.execute=rejected", "payment.execute"),
        ("payment.execute=unavailable:0", "payment.execute=unavailable:0"),
    ],
)
async def test_what_cannot_be_read_is_400_and_named(written: str, named: str) -> None:
    async with served(SANDBOX) as api:
        body = problem(await api.post(key="k", X_Simulate=written), 400, "bad_simulation")
        assert named in body["detail"]
        assert api.stored_nothing()


async def test_where_services_are_real_it_is_refused() -> None:
    async with served() as api:
        problem(await api.post(X_Simulate="payment.execute=rejected"), 400, "simulation_unavailable")
        assert api.stored_nothing()
