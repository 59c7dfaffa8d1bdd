"""The page "Add your own step" runs as it stands."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.saga import Closed, LooksUp, SagaStatus
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "how-to" / "add-your-own-step.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


class Insurer:
    """Does what the page's insurer does; `trouble` is what it raises instead."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        self.insured: list[str] = []
        self.cancelled: list[str] = []

    async def insure(self, *, reference: str, value: int) -> str:
        if self.trouble:
            raise self.trouble
        self.insured.append(reference)
        return f"policy for {value}"

    async def cancel(self, *, reference: str) -> None:
        if reference in self.insured:
            self.insured.remove(reference)
            self.cancelled.append(reference)

    async def find(self, *, reference: str) -> str | None:
        if reference in self.cancelled:
            return "cancelled"
        return "policy" if reference in self.insured else None


async def _run(insurer: Insurer) -> Any:
    from app.services import InventoryStep, PaymentStep, ShippingStep  # noqa: PLC0415 (names for the page)

    names: dict[str, Any] = {
        "payment": PaymentStep(),
        "inventory": InventoryStep(),
        "shipping": ShippingStep(),
        "insurer": insurer,
    }
    exec(BLOCKS[0] + BLOCKS[2], names)  # noqa: S102 (our own page)
    from app.saga import RetryPolicy, SagaOrchestrator, StepDefinition  # noqa: PLC0415

    definition = names["definition"]
    quick = RetryPolicy(attempts=2, base=0.0, cap=0.0)
    steps = tuple(StepDefinition(step=one.step, kind=one.kind, policy=quick) for one in definition)
    order = {
        "order_id": "ord-1",
        "customer_id": "cus-1",
        "currency": "EUR",
        "amount": 3998,
        "items": [{"sku": "A", "quantity": 1, "unit_price": 3998}],
        "payment_method": "tok_visa",
        "shipping_address": {"name": "A", "line1": "1", "city": "P", "postal_code": "1", "country": "FR"},
        "metadata": {},
    }
    named = type(definition)(definition.name, definition.version, steps=steps)
    return await SagaOrchestrator(named).execute(order, saga_id="test-1")


async def test_the_pages_step_takes_its_place_in_the_saga() -> None:
    """Its result stands under its name, and the saga completes."""
    insurer = Insurer()
    state = await _run(insurer)
    assert state.status is SagaStatus.COMPLETED
    assert state.step("insurance").result == {"policy_id": "policy for 3998"}
    assert insurer.insured == ["test-1"]


@pytest.mark.parametrize(
    ("trouble", "ends"),
    [
        (ValueError("too valuable"), ["payment", "inventory"]),
        (ConnectionError(), ["payment", "inventory", "insurance"]),
    ],
)
async def test_the_pages_errors_say_what_is_known(trouble: Exception, ends: list[str]) -> None:
    """A rejection is not compensated, an unknown outcome is."""
    state = await _run(Insurer(trouble))
    assert state.status is SagaStatus.COMPENSATED
    assert list(state.effects) == ends


async def test_the_pages_step_tells_what_stands() -> None:
    """Nothing yet, then the policy, then that nothing ever will."""
    insurer = Insurer()
    names: dict[str, Any] = {}
    exec(BLOCKS[0] + BLOCKS[1], names)  # noqa: S102 (our own page)
    step: Any = names["InsuranceStepThatLooksUp"](insurer)
    assert isinstance(step, LooksUp), "or it would never be asked"
    context = {"saga_id": "s", "amount": 1}
    assert await step.look_up(context) is None
    await step.execute(context)
    assert await step.look_up(context) == {"policy_id": "policy"}
    await step.compensate(context)
    assert await step.look_up(context) == Closed()
