"""A saga's state: what its log says about the saga and each of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from app.saga.model.errors import FailureKind, IllegalEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.record import record
from app.saga.model.status import SagaStatus, StepStatus
from app.saga.model.step import JSON, StepKind

_State = TypeVar("_State")

_SUCCEEDED, _PIVOT = StepStatus.SUCCEEDED, StepKind.PIVOT
"""Python 3.11 takes ten times as long for a member of an enum as for a name of the module."""


@record(frozen=True, kw_only=True)
class CompensationState:
    """The state of a step's compensation.

    `started_at` is when it was first due. An operator who retries it grants new attempts: the first
    `attempts_before_reset` don't count towards the limit. `result` is what the compensation returned.
    """

    started_at: datetime | None = None
    attempts: int = 0
    attempts_before_reset: int = 0
    result: Mapping[str, JSON] | None = None
    error: Mapping[str, JSON] | None = None
    retry_at: datetime | None = None
    finished_at: datetime | None = None


@record(frozen=True, kw_only=True)
class StepState:
    """The state of a step.

    `outcome_unknown` says that an attempt without a definite answer may have taken effect. An operator who retries
    the step grants new attempts: the first `attempts_before_reset` don't count towards the limit. `resolved_by` is
    the operator who resolved it, or its compensation, by hand.
    """

    name: str
    kind: StepKind
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    attempts_before_reset: int = 0
    outcome_unknown: bool = False
    result: Mapping[str, JSON] | None = None
    error: Mapping[str, JSON] | None = None
    retry_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    compensation: CompensationState | None = None
    resolved_by: OperatorAction | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a saga is compensated: the step that was abandoned, and its last error."""

    step: str | None
    code: str
    message: str
    kind: FailureKind

    @property
    def retryable(self) -> bool:
        """Whether the same request might succeed as a new saga."""
        return self.kind in {
            FailureKind.UNUSABLE,
            FailureKind.UNAVAILABLE,
            FailureKind.TIMEOUT,
            FailureKind.DEADLINE,
        }


@record(frozen=True, kw_only=True)
class SagaState:
    """The state of a saga.

    `completion_order` names the steps that had, or may have had, an effect, in the stored order in which that became
    known; they are compensated in its reverse. `recoveries` counts the takeovers since the last progress.
    `cancelled_by` is the operator's action that cancelled it. `resumed_at` is when an operator last had it execute
    its steps again: its deadline counts from then.
    """

    steps: tuple[StepState, ...]
    status: SagaStatus = SagaStatus.RUNNING
    seq: int = 0
    completion_order: tuple[str, ...] = ()
    failure: Failure | None = None
    recoveries: int = 0
    cancelled_by: OperatorAction | None = None
    started_at: datetime | None = None
    resumed_at: datetime | None = None
    updated_at: datetime | None = None
    finished_at: datetime | None = None

    def step(self, name: str) -> StepState:
        """Return the step of that name; raise `IllegalEvent` if the saga has none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise IllegalEvent(f"The saga has no step {name!r}.")

    @property
    def current(self) -> StepState | None:
        """The step to execute: the first that has not succeeded."""
        for step in self.steps:
            if step.status is not _SUCCEEDED:
                return step
        return None

    @property
    def next_compensation(self) -> StepState | None:
        """The step to compensate: the last effect that is neither compensated nor abandoned."""
        for name in reversed(self.completion_order):
            step = self.step(name)
            if (
                step.status is not StepStatus.COMPENSATED
                and step.status is not StepStatus.COMPENSATION_FAILED
            ):
                return step
        return None

    @property
    def past_pivot(self) -> bool:
        """Whether it can't be compensated any more."""
        for step in self.steps:  # noqa: SIM110 (`any` takes four times as long)
            if step.kind is _PIVOT and step.status is _SUCCEEDED:
                return True
        return False

    @property
    def status_before_parking(self) -> SagaStatus:
        """The status in which a saga that needs attention continues: running or compensating."""
        failed = any(step.status is StepStatus.COMPENSATION_FAILED for step in self.steps)
        return SagaStatus.COMPENSATING if failed else SagaStatus.RUNNING

    @property
    def cancellable(self) -> bool:
        """Whether it runs, or ran until it was parked, and has neither passed its pivot nor been cancelled."""
        running = self.status is SagaStatus.RUNNING or (
            self.status is SagaStatus.NEEDS_ATTENTION and self.status_before_parking is SagaStatus.RUNNING
        )
        return running and self.current is not None and not self.past_pivot and self.cancelled_by is None

    def resolvable(self, name: str) -> bool:
        """Whether that step is what keeps a saga that needs attention from continuing."""
        if self.status is not SagaStatus.NEEDS_ATTENTION:
            return False
        step = self.step(name)
        return step.status is StepStatus.COMPENSATION_FAILED or (self.past_pivot and step == self.current)

    @property
    def next_action_at(self) -> datetime | None:
        """The end of the current back-off; None while it is being worked on, and while it is inactive."""
        if self.status is SagaStatus.RUNNING and (step := self.current):
            return step.retry_at
        if self.status is SagaStatus.COMPENSATING and (step := self.next_compensation):
            return step.compensation.retry_at if step.compensation else None
        return None


if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(state: _State, **changes: Any) -> _State:
        """`dataclasses.replace` at a seventh of its cost: a fold does little else."""
        changed = object.__new__(state.__class__)
        changed.__dict__ = state.__dict__ | changes
        return changed


__all__ = ["CompensationState", "Failure", "SagaState", "StepState", "replace"]
