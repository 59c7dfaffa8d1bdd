"""What wrk prints, and what the services' stand-in answers."""

from __future__ import annotations

import asyncio

import pytest

from app.saga import StepRejected
from app.services import HttpGateway, InventoryService, Participant, PaymentService, ShippingService
from app.services.context import Item
from tests.bench.sides.over_http import Load, load_of
from tests.bench.sides.services import Connection, answered
from tests.processes import ADDRESS

WRK = """Running 3s test @ http://127.0.0.1:56359
  1 threads and 64 connections
  Latency Distribution
     50%  151.72ms
     75%  164.84ms
     99%    1.25s
  1211 requests in 3.02s, 2.54MB read
{refusals}Requests/sec:    401.09
"""


def test_what_wrk_printed_is_read_in_milliseconds() -> None:
    assert load_of(WRK.format(refusals="")) == Load(
        requests=1211, refused=0, rate=401.09, p50=151.72, p99=1250.0
    )


def test_refusals_are_counted() -> None:
    assert load_of(WRK.format(refusals="  Non-2xx or 3xx responses: 1211\n")).refused == 1211


async def test_the_stand_in_is_a_service_to_all_three() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    gateways = {service: HttpGateway(service, url) for service in Participant}
    payment = PaymentService(gateways[Participant.PAYMENT])
    inventory = InventoryService(gateways[Participant.INVENTORY])
    shipping = ShippingService(gateways[Participant.SHIPPING])
    items: list[Item] = [{"sku": "TSHIRT-M", "quantity": 2, "unit_price": 1999}]
    try:
        paid = await payment.do(
            reference="saga-1",
            order_id="o",
            customer_id="c",
            amount=3998,
            currency="EUR",
            payment_method="tok_visa",
        )
        assert (paid.amount, paid.currency, paid.status) == (3998, "EUR", "captured")
        assert (await inventory.do(reference="saga-1", order_id="o", items=items)).status == "reserved"
        booked = await shipping.do(reference="saga-1", order_id="o", items=items, address=ADDRESS)
        assert booked.status == "booked"
        with pytest.raises(StepRejected):
            await shipping.do(
                reference="saga-2", order_id="o", items=items, address={**ADDRESS, "country": "XX"}
            )
        for service in (payment, inventory, shipping):
            await service.compensate(reference="saga-1")
    finally:
        for gateway in gateways.values():
            await gateway.aclose()
        server.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [(b"GET", b"/payments/saga-1"), (b"PUT", b"/payments/saga-1/capture"), (b"PUT", b"/parcels/saga-1")],
)
def test_the_stand_in_does_not_claim_what_it_cannot_know(method: bytes, path: bytes) -> None:
    assert answered(method, path, b"{}")[0].startswith(b"501")
