"""The first sketch, word for word: what it promised on one page still holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import pytest

from app.saga import SagaOrchestrator, SagaStatus
from app.services import (
    InventoryService,
    InventoryStep,
    PaymentService,
    PaymentStep,
    Sandbox,
    SandboxGateway,
    ShippingService,
    ShippingStep,
)
from tests.builders import VirtualClock, an_id, checkout_steps

if TYPE_CHECKING:
    from app.saga import Context, SagaStep
    from app.saga.model.step import JSON


def a_context(**changes: JSON) -> Context:
    """Return an order as a plain dictionary."""
    return {
        "order_id": "ord-1001",
        "customer_id": "cus-7",
        "currency": "EUR",
        "amount": 3998,
        "items": [{"sku": "TSHIRT-M", "quantity": 2, "unit_price": 1999}],
        "payment_method": "tok_visa",
        "shipping_address": an_address(),
        **changes,
    }


def an_address(country: str = "FR") -> dict[str, JSON]:
    return {
        "name": "Ada L.",
        "line1": "1 Main St",
        "city": "Paris",
        "postal_code": "75001",
        "country": country,
    }


class SagaStream:
    """A step that tells when it is asked; the rest is the step's own."""

    def __init__(self, step: SagaStep, said: list[str]) -> None:
        self.name = step.name
        self._step, self._said = step, said

    async def execute(self, context: Context) -> Mapping[str, JSON] | None:
        self._said.append(f"execute {self.name}")
        return await self._step.execute(context)

    async def compensate(self, context: Context) -> Mapping[str, JSON] | None:
        self._said.append(f"compensate {self.name}")
        return await self._step.compensate(context)


async def test_the_sketch_runs_as_it_was_written() -> None:
    """Three steps of three services, an orchestrator, a dictionary: nothing else is needed."""
    orchestrator = SagaOrchestrator(
        [PaymentStep(PaymentService()), InventoryStep(InventoryService()), ShippingStep(ShippingService())]
    )
    context = a_context()
    state = await orchestrator.execute(context, saga_id=an_id())
    assert state.status is SagaStatus.COMPLETED
    assert all(context[step] for step in ("payment", "inventory", "shipping"))


async def test_steps_run_in_order() -> None:
    """Payment, inventory, shipping."""
    said: list[str] = []
    orchestrator = SagaOrchestrator(
        [SagaStream(step, said) for step in (PaymentStep(), InventoryStep(), ShippingStep())]
    )
    await orchestrator.execute(a_context(), saga_id=an_id())
    assert said == ["execute payment", "execute inventory", "execute shipping"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"shipping_address": an_address("XX")},
            [
                "execute payment",
                "execute inventory",
                "execute shipping",
                "compensate inventory",
                "compensate payment",
            ],
            id="shipping fails",
        ),
        pytest.param(
            {"items": [{"sku": "OUT-OF-STOCK-1", "quantity": 1, "unit_price": 3998}]},
            ["execute payment", "execute inventory", "compensate payment"],
            id="inventory fails",
        ),
        pytest.param({"payment_method": "tok_declined"}, ["execute payment"], id="payment fails"),
    ],
)
async def test_the_executed_steps_are_compensated_in_reverse(changes: Context, expected: list[str]) -> None:
    """Where a step fails, what was done before it is undone; the failed step itself did nothing."""
    said: list[str] = []
    orchestrator = SagaOrchestrator(
        [SagaStream(step, said) for step in (PaymentStep(), InventoryStep(), ShippingStep())]
    )
    state = await orchestrator.execute(a_context(**changes), saga_id=an_id())
    assert said == expected
    assert state.status is SagaStatus.COMPENSATED


async def test_a_service_does_and_compensates_on_its_own() -> None:
    """`do` and `compensate` are all that a step asks of its service."""
    service = PaymentService()
    reference = an_id()
    payment = await service.do(
        reference=reference,
        order_id="ord-1",
        customer_id="cus-1",
        amount=100,
        currency="EUR",
        payment_method="tok_visa",
    )
    assert await service.look_up(reference=reference) == payment
    await service.compensate(reference=reference)
    assert await service.look_up(reference=reference) != payment


async def test_with_thirty_percent_random_failures_everything_stands_or_nothing_does() -> None:
    """Fifty checkouts on one sandbox, with the sketch's own rate of trouble, under one seed."""
    clock = VirtualClock()
    sandbox = Sandbox(failure_rate=0.3, seed=1987, sleep=clock.sleep)
    orchestrator = SagaOrchestrator(
        checkout_steps(partial(SandboxGateway, sandbox)),
        clock=clock,
    )
    ends = {}
    for number in range(50):
        saga_id = an_id()
        state = await orchestrator.execute(a_context(order_id=f"ord-{number}"), saga_id=saga_id)
        ends[saga_id] = state.status
    await sandbox.settled()
    states = await standing_by_saga(sandbox)
    await sandbox.aclose()
    assert set(ends.values()) == {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}
    for saga_id, status in ends.items():
        expected = {"payment", "inventory", "shipping"} if status is SagaStatus.COMPLETED else set()
        assert states.get(saga_id, set()) == expected


async def standing_by_saga(sandbox: Sandbox) -> dict[str, set[str]]:
    """Return which services hold something for each saga, asked of the services' own books."""
    states: dict[str, set[str]] = {}
    for one in await sandbox.ledger.states():
        if any(one.effect.values()):
            states.setdefault(one.reference, set()).add(one.service)
    return states
