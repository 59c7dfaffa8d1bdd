"""The statuses of a saga and of a step.

                 every step succeeded
running ───────────────────────────────▶ completed
   │ a step failed for good, before the pivot
   ▼
compensating ──────────────────────────▶ compensated
   │           every effect was compensated
   │ a compensation failed for good; or, from running, a step after the pivot did
   ▼
needs_attention ───────────────────────▶ running, or compensating: as before it was parked
                 an operator retries it, resolves a step by hand, or cancels it before the pivot
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class SagaStatus(StrEnum):
    """The status of a saga."""

    RUNNING = "running"  # executes its steps
    COMPENSATING = "compensating"  # compensates them, in reverse
    COMPLETED = "completed"  # every step succeeded; final
    COMPENSATED = "compensated"  # every effect was compensated; final
    NEEDS_ATTENTION = "needs_attention"  # an operator must act


FINAL = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED})
"""Nothing follows one of these."""

INACTIVE = FINAL | {SagaStatus.NEEDS_ATTENTION}
"""No replica works on a saga in one of these."""

EDGES: Mapping[SagaStatus, frozenset[SagaStatus]] = {
    SagaStatus.RUNNING: frozenset(
        {SagaStatus.COMPENSATING, SagaStatus.COMPLETED, SagaStatus.NEEDS_ATTENTION}
    ),
    SagaStatus.COMPENSATING: frozenset({SagaStatus.COMPENSATED, SagaStatus.NEEDS_ATTENTION}),
    SagaStatus.COMPLETED: frozenset(),
    SagaStatus.COMPENSATED: frozenset(),
    SagaStatus.NEEDS_ATTENTION: frozenset({SagaStatus.RUNNING, SagaStatus.COMPENSATING}),
}
"""The only transitions from one status to another."""


class StepStatus(StrEnum):
    """The status of a step."""

    PENDING = "pending"  # not yet started
    RUNNING = "running"  # being executed; a request may have been sent
    SUCCEEDED = "succeeded"  # it took effect
    FAILED = "failed"  # abandoned, certainly without effect
    UNKNOWN = "unknown"  # abandoned, may have had an effect
    COMPENSATING = "compensating"  # being compensated; a request may have been sent
    COMPENSATED = "compensated"  # its effect was reversed
    COMPENSATION_FAILED = "compensation_failed"  # its compensation failed for good
