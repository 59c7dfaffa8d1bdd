"""What services say beyond what is needed: taken as it comes, kept, and shown to whoever reads the checkout."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.settings.settings import Settings
from tests.in_process import a_service
from tests.processes import an_order
from tests.unit.gateway.network import serving

SAID: dict[str, Any] = {
    "payments": {"payment_id": "p-1", "status": "captured", "amount": 3998.0, "currency": "EUR", "acquirer": {"code": "00"}},
    "reservations": {"reservation_id": "r-1", "status": "reserved", "shelf": ""},
    "shipments": {"shipment_id": "s-1", "status": "booked", "carrier": "", "tracking_number": "9" * 300},
}  # fmt: skip
UNDONE: dict[str, Any] = {
    "payments": {"status": "refunded", "refund_id": "ref-1", "note": "<b>2 days</b>"},
    "reservations": None,
}


def services(*, deliverable: bool) -> Starlette:
    """Return the three services, each at its own path; DELETE of a reservation is answered 204."""

    async def answer(request: Request) -> Response:
        resource = request.path_params["resource"]
        if request.method == "DELETE":
            said = UNDONE[resource]
            return Response(status_code=204) if said is None else JSONResponse(said)
        if resource == "shipments" and not deliverable:
            return JSONResponse({"code": "address_unserviceable"}, 422)
        return JSONResponse(SAID[resource], 201)

    return Starlette(routes=[Route("/{resource}/{reference}", answer, methods=["PUT", "DELETE"])])


@pytest.mark.parametrize("deliverable", [True, False])
async def test_what_a_service_says_beyond_the_contract_is_kept_and_shown(
    database_url: str, deliverable: bool
) -> None:
    """In the API, in the feed's and the webhooks' body, which are the same, and on the page."""
    async with serving(services(deliverable=deliverable)) as url:  # type: ignore[arg-type]
        settings = Settings(
            database_url=SecretStr(database_url), payment_url=url, inventory_url=url, shipping_url=url
        )
        async with a_service(settings, "http://localhost") as client:
            body = (await client.post("/checkout", json=an_order("ord-1"))).json()
            saga = body.get("saga", body)
            assert (await client.get(f"/sagas/{saga['id']}")).json() == saga
            page = (await client.get(f"/dashboard/sagas/{saga['id']}", headers={"accept": "text/html"})).text
    steps = {step["name"]: step for step in saga["steps"]}
    assert saga["status"] == ("completed" if deliverable else "compensated")
    assert steps["payment"]["result"] == {**SAID["payments"], "amount": 3998}
    assert type(steps["payment"]["result"]["amount"]) is int
    assert steps["inventory"]["result"] == SAID["reservations"]
    assert "shelf" in page
    if deliverable:
        assert steps["shipping"]["result"] == SAID["shipments"]
        assert steps["payment"]["compensation"] is None
        return
    assert steps["payment"]["compensation"]["result"] == UNDONE["payments"]
    assert steps["inventory"]["compensation"]["result"] == {}
    assert "ref-1" in page
    assert "&lt;b&gt;2 days&lt;/b&gt;" in page
