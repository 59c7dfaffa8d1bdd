"""What is checked out, and how that goes when no process dies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.saga.model.retry import RetryPolicy
from app.saga.model.status import SagaStatus
from tests.processes import ADDRESS

NOWHERE = {"shipping_address": {**ADDRESS, "country": "XX"}}

_QUICK = RetryPolicy(timeout=5.5, attempts=4, base=0.1, cap=1.0)
_TWICE = RetryPolicy(timeout=5.5, attempts=2, base=0.1, cap=1.0)
_SLOW = RetryPolicy(timeout=5.5, attempts=4, base=3.0, cap=3.0)
_PATIENT = RetryPolicy(timeout=5.5, attempts=20, base=0.1, cap=1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """One checkout: its order, the trouble asked of the sandbox, how patient the saga is, and how it ends.

    `may_end` says how else it may end where a process dies on the way. `breaks` names an append over
    which the journal breaks down once. `act` is what a person does about it when a client's wait is over:
    cancel it while it runs, or retry it once it needs attention.
    """

    name: str
    ends: SagaStatus
    order: Mapping[str, object] = field(default_factory=dict)
    simulate: str | None = None
    policy: RetryPolicy = _QUICK
    compensation: RetryPolicy = _PATIENT
    deadline: float = 300.0
    key_window: float = 23 * 3600.0
    may_end: frozenset[SagaStatus] = frozenset()
    breaks: str | None = None
    act: str | None = None

    @property
    def takes_its_time(self) -> bool:
        """Whether it waits for longer than a test on a real database wants to."""
        late = self.simulate is not None and "late_effect" in self.simulate
        return late or _SLOW in {self.policy, self.compensation} or self.breaks is not None

    def __str__(self) -> str:
        return self.name


SCENARIOS = (
    Scenario(name="completed", ends=SagaStatus.COMPLETED),
    Scenario(name="declined", ends=SagaStatus.COMPENSATED, order={"payment_method": "tok_declined"}),
    Scenario(
        name="out of stock",
        ends=SagaStatus.COMPENSATED,
        order={"items": [{"sku": "OUT-OF-STOCK-1", "quantity": 1, "unit_price": 500}]},
    ),
    Scenario(name="address XX", ends=SagaStatus.COMPENSATED, order=NOWHERE),
    Scenario(
        name="payment answer lost once",
        ends=SagaStatus.COMPLETED,
        simulate="payment.execute=timeout_after_effect:1",
    ),
    Scenario(
        name="payment times out before effect",
        ends=SagaStatus.COMPENSATED,
        simulate="payment.execute=timeout_before_effect",
        policy=_TWICE,
    ),
    Scenario(
        name="inventory effect comes late",
        ends=SagaStatus.COMPENSATED,
        simulate="inventory.execute=late_effect",
        policy=_TWICE,
    ),
    Scenario(
        name="shipping times out after effect",
        ends=SagaStatus.COMPENSATED,
        simulate="shipping.execute=timeout_after_effect",
        policy=_TWICE,
    ),
    Scenario(
        name="refund fails twice",
        ends=SagaStatus.COMPENSATED,
        order=NOWHERE,
        simulate="payment.compensate=unavailable:2",
    ),
    Scenario(
        name="refund answer lost",
        ends=SagaStatus.COMPENSATED,
        order=NOWHERE,
        simulate="payment.compensate=timeout_after_effect:1",
    ),
    Scenario(
        name="stock not reversible",
        ends=SagaStatus.NEEDS_ATTENTION,
        order=NOWHERE,
        simulate="inventory.compensate=not_reversible",
    ),
    Scenario(
        name="parked",
        ends=SagaStatus.COMPLETED,
        simulate="inventory.execute=unavailable:1",
        policy=_SLOW,
    ),
    Scenario(
        name="parked going back",
        ends=SagaStatus.COMPENSATED,
        order=NOWHERE,
        simulate="inventory.compensate=timeout_before_effect:1",
        compensation=_SLOW,
    ),
    Scenario(
        name="deadline shorter than a takeover",
        ends=SagaStatus.COMPLETED,
        deadline=8.0,
        may_end=frozenset({SagaStatus.COMPENSATED}),
    ),
    Scenario(
        name="looked up",
        ends=SagaStatus.COMPLETED,
        simulate="inventory.execute=timeout_after_effect:1",
        policy=_SLOW,
        key_window=2.0,
        may_end=frozenset({SagaStatus.COMPENSATED, SagaStatus.NEEDS_ATTENTION}),
    ),
    Scenario(
        name="journal breaks down",
        ends=SagaStatus.COMPLETED,
        breaks="log.append step_succeeded inventory",
    ),
    Scenario(
        name="cancelled",
        ends=SagaStatus.COMPENSATED,
        simulate="inventory.execute=unavailable:1",
        policy=_SLOW,
        act="cancel",
        may_end=frozenset({SagaStatus.COMPLETED}),
    ),
    Scenario(
        name="retried by an operator",
        ends=SagaStatus.COMPENSATED,
        order=NOWHERE,
        simulate="inventory.compensate=not_reversible:1",
        act="retry",
    ),
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
