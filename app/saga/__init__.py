"""The saga core: knows the standard library alone. Start reading at `engine/orchestrator`."""

from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.model.definition import Definitions, SagaDefinition, StepDefinition
from app.saga.model.errors import (
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
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.retry import RetryPolicy
from app.saga.model.state import SagaState
from app.saga.model.status import SagaStatus, StepStatus
from app.saga.model.step import Closed, Context, LooksUp, SagaStep, StepKind
from app.saga.ports.log import NewSaga, SagaLog, StoredSaga
from app.saga.ports.memory_log import MemoryLog
from app.saga.rules.fold import fold

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
