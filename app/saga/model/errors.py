"""What can go wrong. Each error says what to do.

SagaError
├── StepError               a step did not succeed
│   ├── StepRejected        a definite no, certainly without effect: compensate
│   ├── StepUnavailable     certainly without effect: retry
│   └── StepOutcomeUnknown  it may have happened: retry under the same key
├── DefinitionError         the saga's definition can't be run: fix the code
│   └── DefinitionUnknown   this process has no such definition: leave the saga to another replica
├── IllegalEvent            this code did not write that log: leave the saga alone
├── LeaseLost               this process may no longer act: stop, change nothing
└── LogError                the saga log did not accept an entry
    ├── SagaFenced          another owner has continued the saga: stop, change nothing
    ├── SagaMoved           the saga changed after the operator read it: read it again
    ├── LogUnavailable      nothing can be stored now: retry later
    ├── LogUnreadable       this release can't read the saga's log: leave it to one that can
    └── LogRefused          this entry can never be stored: fix it
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.saga.ports.log import UnreadableSaga


class FailureKind(StrEnum):
    """Why a step failed. The API's status follows from it."""

    REFUSED = "refused"  # the service refused
    UNUSABLE = "unusable"  # the service's answer can't be used
    UNAVAILABLE = "unavailable"  # the service is down or can't be reached
    TIMEOUT = "timeout"  # the service did not answer in time
    DEADLINE = "deadline"  # the whole saga took too long
    CANCELLED = "cancelled"  # an operator cancelled it
    POISONED = "poisoned"  # its process died repeatedly


class SagaError(Exception):
    """Something about a saga went wrong; a subclass says what to do."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class StepError(SagaError):
    """A step did not succeed.

    `code` is a stable snake_case word for programs. The message is for people, and never has a customer's data.
    `retry_after` is in seconds, if the service named a time.
    """

    code: str = "step_error"
    kind: FailureKind = FailureKind.UNUSABLE

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        kind: FailureKind | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.kind = kind or type(self).kind
        self.retry_after = retry_after


class StepRejected(StepError):
    """The service refused and did nothing: compensate the steps before."""

    code = "rejected"
    kind = FailureKind.REFUSED


class StepUnavailable(StepError):
    """The service was not reached and did nothing: retry."""

    code = "unavailable"
    kind = FailureKind.UNAVAILABLE


class StepOutcomeUnknown(StepError):
    """It may have happened: retry under the same key, and compensate it if no attempt succeeds."""

    code = "outcome_unknown"
    kind = FailureKind.UNUSABLE


class DefinitionError(SagaError):
    """The saga's definition can't be run: fix it."""


class DefinitionUnknown(DefinitionError):
    """This process has no definition of that name and version: leave the saga to another replica."""


class IllegalEvent(SagaError):
    """This event can't follow those in the log: this code did not write that log."""


class LeaseLost(SagaError):
    """The lease of this process has lapsed, so it may no longer act: stop, and change nothing."""


class LogError(SagaError):
    """The saga log did not accept an entry."""


class SagaFenced(LogError):
    """Another owner has continued this saga: stop, and change nothing."""


class SagaMoved(LogError):
    """The saga has changed since it was read: read it again before acting on it."""


class LogUnavailable(LogError):
    """The saga log can't store anything now: retry later."""

    def __init__(self, message: str | None = None, *, stored: bool | None = False) -> None:
        """`stored` is False if certainly nothing was stored, and None if that is unknown."""
        super().__init__(message)
        self.stored = stored


class LogUnreadable(LogError):
    """This release can't read the saga's log: leave it to one that can."""

    def __init__(self, message: str | None = None, *, saga: UnreadableSaga | None = None) -> None:
        """`saga` is what can be shown of it nevertheless."""
        super().__init__(message)
        self.saga = saga


class LogRefused(LogError):
    """The saga log can never store this entry: fix it."""
