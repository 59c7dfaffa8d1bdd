"""The checkout saga, written as one sentence."""

from __future__ import annotations

from app.saga.model.definition import SagaDefinition
from app.saga.model.retry import RetryPolicy
from app.saga.model.step import SagaStep


def checkout_saga(
    *,
    payment: SagaStep,
    inventory: SagaStep,
    shipping: SagaStep,
    policy: RetryPolicy | None = None,
    compensation: RetryPolicy | None = None,
    deadline: float = 300.0,
    key_window: float = 23 * 3600.0,
    version: int = 2,
) -> SagaDefinition:
    """Charge, reserve, then ship; where shipping is not available, compensate in reverse order.

    `versions` has what the steps of an earlier version do otherwise.
    """
    return (
        SagaDefinition("checkout", version=version, deadline=deadline, key_window=key_window)
        .do(payment, policy=policy, compensation=compensation)
        .do(inventory, policy=policy, compensation=compensation)
        .pivot(shipping, policy=policy, compensation=compensation)
    )
