"""The saga definitions that a process runs: put a saga type of your own here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from app.checkout.definition import checkout_saga
from app.checkout.versions import WithoutMetadata
from app.saga.model.definition import SagaDefinition
from app.saga.model.retry import RetryPolicy
from app.services import (
    Gateway,
    InventoryService,
    InventoryStep,
    Participant,
    PaymentService,
    PaymentStep,
    ShippingService,
    ShippingStep,
)
from app.settings.settings import Settings

GUARD_SECONDS = 0.5
"""How much longer than a call its step may take, so that the call's own answer comes first."""


def saga_definitions(
    settings: Settings, gateways: Mapping[Participant, Gateway]
) -> tuple[SagaDefinition, ...]:
    """Return the definitions that this process runs. `POST /checkout` starts the first.

    A saga finishes with the definition that it started with: keep an older version behind the first one until
    its last saga has finished.
    """
    payment = PaymentStep(PaymentService(gateways[Participant.PAYMENT]))
    inventory = InventoryStep(InventoryService(gateways[Participant.INVENTORY]))
    shipping = ShippingStep(ShippingService(gateways[Participant.SHIPPING]))
    checkout = partial(
        checkout_saga,
        policy=_policy(settings, settings.step_max_attempts),
        compensation=_policy(settings, settings.compensation_max_attempts),
        deadline=settings.deadline_seconds,
        key_window=settings.key_window_seconds,
    )
    current = checkout(payment=payment, inventory=inventory, shipping=shipping)
    version_1 = checkout(
        payment=WithoutMetadata(payment),
        inventory=WithoutMetadata(inventory),
        shipping=WithoutMetadata(shipping),
        version=1,
    )
    return (current, version_1)


def _policy(settings: Settings, attempts: int) -> RetryPolicy:
    return RetryPolicy(
        timeout=settings.step_timeout_seconds + GUARD_SECONDS,
        attempts=attempts,
        base=settings.retry_base_seconds,
        cap=settings.retry_cap_seconds,
        max_retry_after=settings.max_retry_after_seconds,
    )
