"""The port to a step: every step of the checkout passes these cases."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from app.saga import SagaOrchestrator, SagaStatus, SagaStep
from app.saga.model.errors import StepError, StepOutcomeUnknown, StepRejected
from app.services import (
    InventoryStep,
    PaymentStep,
    Sandbox,
    SandboxGateway,
    ShippingStep,
)
from tests.builders import an_id, checkout_steps

RESULTS = {
    "payment": {"payment_id", "amount", "currency", "status"},
    "inventory": {"reservation_id", "status"},
    "shipping": {"shipment_id", "status", "carrier", "tracking_number"},
}


def a_context(**changes: Any) -> dict[str, Any]:
    """Return the context of a checkout that succeeds."""
    return {
        "saga_id": an_id(),
        "order_id": "ord-1",
        "customer_id": "cus-7",
        "currency": "EUR",
        "amount": 3998,
        "items": [{"sku": "TSHIRT-M", "quantity": 2, "unit_price": 1999}],
        "payment_method": "tok_visa",
        "shipping_address": {"name": "Ada L.", "country": "FR"},
        "metadata": {},
        **changes,
    }


def steps_on(sandbox: Sandbox) -> dict[str, SagaStep]:
    return {step.name: step for step in checkout_steps(partial(SandboxGateway, sandbox))}


@pytest.fixture(params=list(RESULTS))
def name(request: pytest.FixtureRequest) -> str:
    """Give each step's name in turn."""
    return str(request.param)


@pytest.fixture
def sandbox() -> Sandbox:
    """Give a sandbox that is gone with the test."""
    return Sandbox()


@pytest.fixture
def step(name: str, sandbox: Sandbox) -> SagaStep:
    """Give each step in turn."""
    return steps_on(sandbox)[name]


def test_a_step_is_one_to_the_core_and_has_its_services_name(step: SagaStep, name: str) -> None:
    assert isinstance(step, SagaStep)
    assert step.name == name


async def test_executing_again_returns_the_same_result(step: SagaStep, name: str) -> None:
    context = a_context()
    first = await step.execute(context)
    assert first is not None
    assert first == await step.execute(context)
    assert set(first) == RESULTS[name]
    assert json.loads(json.dumps(first)) == first


async def test_a_step_leaves_the_context_alone(step: SagaStep) -> None:
    context = a_context()
    before = json.dumps(context)
    await step.execute(context)
    await step.compensate(context)
    assert json.dumps(context) == before


async def test_compensating_again_and_without_an_execution_succeeds(step: SagaStep) -> None:
    for executed in (True, False):
        context = a_context()
        if executed:
            await step.execute(context)
        assert await step.compensate(context) == await step.compensate(context)


async def test_an_execution_that_comes_after_its_compensation_is_rejected(step: SagaStep) -> None:
    context = a_context()
    await step.compensate(context)
    with pytest.raises(StepRejected) as caught:
        await step.execute(context)
    assert caught.value.code == "reference_closed"


async def test_a_compensation_needs_the_sagas_id_alone(step: SagaStep) -> None:
    assert await step.compensate({"saga_id": an_id()}) == {"status": "closed"}


@pytest.mark.parametrize("saga_id", [None, 7, "", "../x"])
async def test_a_saga_without_a_usable_id_sends_nothing(
    step: SagaStep, sandbox: Sandbox, saga_id: object
) -> None:
    for ask in (step.execute, step.compensate):
        with pytest.raises(StepRejected):
            await ask(a_context(saga_id=saga_id))
    assert await sandbox.ledger.records() == []


@pytest.mark.parametrize("member", ["order_id", "amount", "items", "payment_method", "shipping_address"])
@pytest.mark.parametrize("value", [None, True, 1.5])
async def test_a_context_that_is_wrong_is_rejected_by_the_steps_that_need_it(
    sandbox: Sandbox, member: str, value: object
) -> None:
    rejections = []
    for step in steps_on(sandbox).values():
        try:
            await step.execute(a_context(**{member: value}))
        except StepRejected as error:
            rejections.append(error)
    assert rejections
    assert all(error.code == "invalid_context" and member in str(error) for error in rejections)


async def test_what_is_simulated_reaches_the_step_it_names(step: SagaStep, name: str) -> None:
    context = a_context(simulate=f"{name}.execute=timeout_after_effect:1, {name}.compensate=unavailable:1")
    with pytest.raises(StepOutcomeUnknown):
        await step.execute(context)
    await step.execute(context)
    with pytest.raises(StepError):
        await step.compensate(context)
    await step.compensate(context)


async def test_a_cancelled_execution_can_be_compensated(step: SagaStep) -> None:
    context = a_context()
    task = asyncio.create_task(step.execute(context))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await step.compensate(context)
    with pytest.raises(StepRejected):
        await step.execute(context)


async def test_the_first_sketch_runs() -> None:
    """Bare steps in a list, each with a sandbox of its own."""
    context = a_context(shipping_address={"country": "XX"})
    del context["saga_id"]
    state = await SagaOrchestrator([PaymentStep(), InventoryStep(), ShippingStep()]).execute(
        context, saga_id="first"
    )
    assert state.status is SagaStatus.COMPENSATED
    assert state.failure is not None
    assert state.failure.code == "address_unserviceable"
    assert set(context["payment"]) == RESULTS["payment"]
