"""What the services are sent of an order: all that providers need of it, and of version 1's sagas what they began with."""

from __future__ import annotations

from typing import Any

import pytest

from app.bootstrap.saga_definitions import saga_definitions
from app.gateway.port import Call, JsonObject, Participant
from app.saga import SagaOrchestrator, SagaStatus
from app.settings.settings import Settings
from tests.processes import ADDRESS

ANSWERS: dict[Participant, JsonObject] = {
    Participant.PAYMENT: {"payment_id": "p", "status": "captured", "amount": 4297, "currency": "EUR"},
    Participant.INVENTORY: {"reservation_id": "r", "status": "reserved"},
    Participant.SHIPPING: {"shipment_id": "s", "status": "booked"},
}
LINE = {"sku": "TSHIRT-M", "quantity": 2, "unit_price": 1999}
BEFORE = {
    "order_id": "o",
    "customer_id": "c",
    "currency": "EUR",
    "amount": 4297,
    "items": [LINE],
    "payment_method": "tok_visa",
    "shipping_address": ADDRESS,
    "metadata": {"campaign": "spring"},
}
FULL = {
    **BEFORE,
    "items": [{**LINE, "weight_grams": 180, "size_mm": [300, 250, 30]}],
    "shipping_amount": 499,
    "discount_amount": 200,
    "contact": {"email": "ada@example.com", "phone": None},
    "shipping_method": "express",
}
CHARGE = {
    "order_id": "o",
    "customer_id": "c",
    "amount": 4297,
    "currency": "EUR",
    "payment_method": "tok_visa",
    "capture": "immediate",
}
SHIPPED = {"sku": "TSHIRT-M", "quantity": 2}
NOTES = {"metadata": {"campaign": "spring"}}


class Keeping:
    """A gateway that keeps the bodies of what it is sent."""

    def __init__(self, participant: Participant, bodies: dict[str, JsonObject]) -> None:
        self._participant = participant
        self._bodies = bodies

    async def put(self, _call: Call, body: JsonObject) -> JsonObject:
        self._bodies[self._participant.value] = body
        return ANSWERS[self._participant]

    async def delete(self, _call: Call) -> JsonObject:
        raise AssertionError

    get = capture = delete

    async def aclose(self) -> None: ...


async def sent(version: int, order: dict[str, Any]) -> dict[str, JsonObject]:
    """Return what each service was sent by a saga of that version."""
    bodies: dict[str, JsonObject] = {}
    gateways = {participant: Keeping(participant, bodies) for participant in Participant}
    (definition,) = [one for one in saga_definitions(Settings(), gateways) if one.version == version]
    state = await SagaOrchestrator(definition).execute(order, saga_id="s-1")
    assert state.status is SagaStatus.COMPLETED
    return bodies


def test_new_sagas_are_of_the_newest_version() -> None:
    definitions = saga_definitions(Settings(), {one: Keeping(one, {}) for one in Participant})
    assert [one.version for one in definitions] == [2, 1]


async def test_the_order_in_full_reaches_the_services() -> None:
    assert await sent(2, FULL) == {
        "payment": {
            **CHARGE,
            "amounts": {"items": 3998, "shipping": 499, "discount": 200},
            "contact": {"email": "ada@example.com"},
            **NOTES,
        },
        "inventory": {"order_id": "o", "items": [SHIPPED], **NOTES},
        "shipping": {
            "order_id": "o",
            "items": [{**SHIPPED, "weight_grams": 180, "size_mm": [300, 250, 30]}],
            "address": ADDRESS,
            "method": "express",
            "contact": {"email": "ada@example.com"},
            **NOTES,
        },
    }


@pytest.mark.parametrize("metadata", [{}, {"campaign": "spring"}])
async def test_a_saga_of_version_1_repeats_what_version_1_sent(metadata: dict[str, Any]) -> None:
    assert await sent(1, {**BEFORE, "metadata": metadata}) == {
        "payment": CHARGE,
        "inventory": {"order_id": "o", "items": [SHIPPED]},
        "shipping": {"order_id": "o", "items": [SHIPPED], "address": ADDRESS},
    }


async def test_an_order_without_any_of_it_is_sent_as_before() -> None:
    assert await sent(2, {**BEFORE, "metadata": {}}) == await sent(1, BEFORE)
