"""What can go wrong, as instructions to its reader.

SagaError
├── StepError               what the orchestrator has to do after a step's answer
│   ├── StepRejected        a definite no, certainly without effect: go back
│   ├── StepUnavailable     certainly without effect: try again
│   └── StepOutcomeUnknown  it may have happened: ask again under the same key
├── DefinitionError         the saga's definition can't be run: fix the code
│   └── DefinitionUnknown   this process has no such definition: leave the saga to one that has
├── IllegalEvent            the log is not one that this code wrote: leave the saga alone
├── LeaseLost               this process may no longer act: stop, touch nothing
└── LogError                the saga log did not take what was given
    ├── SagaFenced          another owner has moved the saga: stop, touch nothing
    ├── SagaMoved           the saga changed after the operator read it: look again
    ├── LogUnavailable      nothing can be stored now: come back later
    ├── LogUnreadable       this release doesn't understand the saga's log: leave it to one that does
    └── LogRefused          this entry can never be stored: fix what was given
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.saga.ports.log import UnreadableSaga


class FailureKind(StrEnum):
    """Why a step ended without success, in the words that the API's status follows."""

    REFUSED = "refused"  # the service understood and said no
    UNUSABLE = "unusable"  # the service answered what can't be used
    UNAVAILABLE = "unavailable"  # the service is down or out of reach
    TIMEOUT = "timeout"  # the service did not answer in time
    DEADLINE = "deadline"  # the whole saga took too long
    CANCELLED = "cancelled"  # a person stopped it
    POISONED = "poisoned"  # it took its process down again and again


class SagaError(Exception):
    """Something about a saga went wrong; a subclass says what to do."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class StepError(SagaError):
    """A step did not succeed.

    `code` is a stable snake_case word for programs, the message is for people and never holds
    a customer's data; `retry_after` is in seconds, where the service named a time.
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
    """The service said no and did nothing: go back."""

    code = "rejected"
    kind = FailureKind.REFUSED


class StepUnavailable(StepError):
    """The service was not reached and did nothing: try again."""

    code = "unavailable"
    kind = FailureKind.UNAVAILABLE


class StepOutcomeUnknown(StepError):
    """It may have happened: ask again under the same key, and undo it when giving up."""

    code = "outcome_unknown"
    kind = FailureKind.UNUSABLE


class DefinitionError(SagaError):
    """The saga's definition can't be run: mend it."""


class DefinitionUnknown(DefinitionError):
    """This process has no definition of that name and version: leave the saga to one that has."""


class IllegalEvent(SagaError):
    """This event can't follow what the log holds: this code did not write that log."""


class LeaseLost(SagaError):
    """The lease of this process has lapsed, so it may no longer act: stop and touch nothing."""


class LogError(SagaError):
    """The saga log did not take what was given."""


class SagaFenced(LogError):
    """Another owner has moved this saga: stop and touch nothing."""


class SagaMoved(LogError):
    """The saga is not as it was seen: look at it again before acting on it."""


class LogUnavailable(LogError):
    """The saga log can't store anything now: come back later."""

    def __init__(self, message: str | None = None, *, stored: bool | None = False) -> None:
        """`stored` is False when certainly nothing was, None when nobody can tell."""
        super().__init__(message)
        self.stored = stored


class LogUnreadable(LogError):
    """The saga's log can't be understood by this release: leave it to one that can."""

    def __init__(self, message: str | None = None, *, saga: UnreadableSaga | None = None) -> None:
        """`saga` is what can be shown of it all the same."""
        super().__init__(message)
        self.saga = saga


class LogRefused(LogError):
    """The saga log can never store this entry: mend what was given."""
