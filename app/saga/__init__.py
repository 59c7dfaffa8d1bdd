"""The saga core: knows the standard library alone. Start reading at `orchestrator`."""

from app.saga.definition import Definitions, SagaDefinition, StepDefinition
from app.saga.errors import (
    DefinitionError,
    FailureKind,
    LogError,
    LogUnavailable,
    SagaError,
    SagaFenced,
    StepError,
    StepOutcomeUnknown,
    StepRejected,
    StepUnavailable,
)
from app.saga.events import EventType, SagaEvent
from app.saga.log import NewSaga, SagaLog, StoredSaga
from app.saga.memory_log import MemoryLog
from app.saga.orchestrator import SagaOrchestrator
from app.saga.retry import RetryPolicy
from app.saga.state import SagaState, SagaStatus, StepStatus, fold
from app.saga.step import Closed, Context, LooksUp, SagaStep, StepKind

__all__ = [
    "Closed",
    "Context",
    "DefinitionError",
    "Definitions",
    "EventType",
    "FailureKind",
    "LogError",
    "LogUnavailable",
    "LooksUp",
    "MemoryLog",
    "NewSaga",
    "RetryPolicy",
    "SagaDefinition",
    "SagaError",
    "SagaEvent",
    "SagaFenced",
    "SagaLog",
    "SagaOrchestrator",
    "SagaState",
    "SagaStatus",
    "SagaStep",
    "StepDefinition",
    "StepError",
    "StepKind",
    "StepOutcomeUnknown",
    "StepRejected",
    "StepStatus",
    "StepUnavailable",
    "StoredSaga",
    "fold",
]
