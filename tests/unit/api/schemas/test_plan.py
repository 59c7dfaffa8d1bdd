"""What `dry_run=true` says that a checkout would do."""

from __future__ import annotations

from app.api.schemas.order import Order
from app.api.schemas.plan import plan_of
from app.checkout.definition import checkout_saga
from app.services import InventoryStep, PaymentStep, ShippingStep
from tests.processes import an_order


def test_a_plan_says_of_each_step_what_it_does_and_what_compensates_it() -> None:
    """With the steps that the service runs."""
    definition = checkout_saga(payment=PaymentStep(), inventory=InventoryStep(), shipping=ShippingStep())
    plan = plan_of(Order.of(an_order("ord-1"), max_items=1), definition)
    assert [(step.name, step.does, step.undone_by) for step in plan.steps] == [
        ("payment", "Charge", "Refund or void"),
        ("inventory", "Reserve", "Release"),
        ("shipping", "Book", "Cancel"),
    ]
