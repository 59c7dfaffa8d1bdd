"""A service and a step of one's own on the services' contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from app.gateway.resources import Resource, Text
from app.saga.model.errors import StepOutcomeUnknown
from app.saga.model.step import Closed
from app.services.context import CheckoutContext
from app.services.resource import CallOptions, ResourceService, ResourceStep
from tests.unit.services.test_services import Saying


@dataclass(frozen=True)
class Insurer:
    value: str = "insurance"
    resource: str = "policies"


class Policy(Resource):
    policy_id: Text


class InsuranceService(ResourceService[Policy]):
    owner = Insurer()
    resource = Policy

    async def do(
        self, *, order_id: str, reference: str, simulate: str | None, traceparent: str | None
    ) -> Policy:
        return await self._put(
            {"order_id": order_id}, reference=reference, simulate=simulate, traceparent=traceparent
        )


class InsuranceStep(ResourceStep[InsuranceService]):
    name = "insurance"
    service_type = InsuranceService
    does = "Insure"
    undone_by = "Cancel the policy"

    async def do(self, order: CheckoutContext, options: CallOptions) -> Policy:
        return await self._service.do(order_id=order.order_id, **options)


ORDER: dict[str, Any] = {"saga_id": "saga-1", "order_id": "ord-1", "simulate": "x", "traceparent": "t"}


async def test_a_fourth_service_is_called_under_its_own_name() -> None:
    """The idempotency key holds the saga, the service and the verb; a repeat makes the same call."""
    gateway = Saying({"policy_id": "pol_1", "agent": "Ada"})
    step = InsuranceStep(InsuranceService(gateway))
    assert await step.execute(dict(ORDER)) == {"policy_id": "pol_1", "agent": "Ada"}
    await step.compensate(dict(ORDER))
    await step.look_up(dict(ORDER))
    assert gateway.bodies == [{"order_id": "ord-1"}]
    assert [call.idempotency_key for call in gateway.calls] == [
        "saga-1:insurance:execute",
        "saga-1:insurance:compensate",
        "saga-1:insurance:execute",
    ]
    assert [(call.simulate, call.traceparent) for call in gateway.calls] == [
        ("x", "t"),
        ("x", "t"),
        (None, "t"),
    ]


async def test_its_answer_is_checked_as_the_others_are() -> None:
    with pytest.raises(StepOutcomeUnknown, match="Policy: policy_id"):
        await InsuranceStep(InsuranceService(Saying({"policy": "pol_1"}))).execute(dict(ORDER))


@pytest.mark.parametrize("answer", [None, Closed()])
async def test_a_look_up_says_that_nothing_exists(answer: Closed | None) -> None:
    assert await InsuranceStep(InsuranceService(Saying(answer))).look_up(dict(ORDER)) is answer


async def test_a_service_that_the_sandbox_lacks_needs_a_gateway() -> None:
    with pytest.raises(TypeError, match="InsuranceService needs a gateway"):
        InsuranceStep()
