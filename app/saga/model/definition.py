"""A saga's definition: its steps in order, how each is retried, and the pivot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from app.saga.model.cached_attribute import cached_attribute
from app.saga.model.errors import DefinitionError, DefinitionUnknown
from app.saga.model.retry import RetryPolicy
from app.saga.model.state import SagaState, StepState
from app.saga.model.step import SagaStep, StepKind

PATIENT = RetryPolicy(attempts=20)
"""The default policy of a compensation, and of a step after the pivot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepDefinition:
    """A step of a saga: its kind, and how its action and its compensation are retried."""

    step: SagaStep
    kind: StepKind = StepKind.COMPENSATABLE
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    compensation: RetryPolicy = PATIENT

    @property
    def name(self) -> str:
        return self.step.name


@dataclass(frozen=True)
class SagaDefinition:
    """A saga as one sentence.

        SagaDefinition("checkout", version=1).do(payment).do(inventory).pivot(shipping).then(capture)

    A saga stores `name` and `version`, and finishes with the definition that it started with. So if you change
    the steps, their order or their kinds, change the version too. `deadline` is in seconds from the saga's start;
    a saga that has not passed its pivot by then is compensated. `key_window` is in seconds from an action's first
    request. After it, the action is looked up and not sent again: services forget keys (Stripe after 24 hours),
    and would do the work twice.
    """

    name: str
    version: int = 1
    deadline: float = 300.0
    key_window: float = 23 * 3600.0
    steps: tuple[StepDefinition, ...] = ()

    def do(
        self,
        step: SagaStep,
        *,
        policy: RetryPolicy | None = None,
        compensation: RetryPolicy | None = None,
    ) -> SagaDefinition:
        """Add a step that can be compensated."""
        return self._with(step, StepKind.COMPENSATABLE, policy or RetryPolicy(), compensation)

    def pivot(
        self,
        step: SagaStep,
        *,
        policy: RetryPolicy | None = None,
        compensation: RetryPolicy | None = None,
    ) -> SagaDefinition:
        """Add the step after whose success nothing is compensated. Its own compensation closes an unknown outcome."""
        return self._with(step, StepKind.PIVOT, policy or RetryPolicy(), compensation)

    def then(self, step: SagaStep, *, policy: RetryPolicy | None = None) -> SagaDefinition:
        """Add a step after the pivot. It is retried until it succeeds."""
        return self._with(step, StepKind.RETRIABLE, policy or PATIENT, None)

    def _with(
        self,
        step: SagaStep,
        kind: StepKind,
        policy: RetryPolicy,
        compensation: RetryPolicy | None,
    ) -> SagaDefinition:
        added = StepDefinition(step=step, kind=kind, policy=policy, compensation=compensation or PATIENT)
        return replace(self, steps=(*self.steps, added))

    def __iter__(self) -> Iterator[StepDefinition]:
        return iter(self.steps)

    @cached_attribute
    def by_name(self) -> Mapping[str, StepDefinition]:
        """The steps by their names."""
        return {step.name: step for step in self.steps}

    @cached_attribute
    def initial_state(self) -> SagaState:
        """The state before the first event."""
        return SagaState(steps=tuple([StepState(name=step.name, kind=step.kind) for step in self.steps]))

    def validated(self) -> SagaDefinition:
        """Return itself. Raise `DefinitionError`, which says what is wrong and what to do."""
        if not self.name or self.version < 1:
            raise DefinitionError("Give the saga a name and a version from 1.")
        if not self.steps:
            raise DefinitionError(f"Saga {self.name!r} has no steps: add one with .do(step).")
        names = [step.name for step in self.steps]
        for name in names:
            if name in {"", "saga_id"}:
                raise DefinitionError(
                    f"Saga {self.name!r} has a step named {name!r}: the context uses that name itself, so give it another."
                )
            if names.count(name) > 1:
                raise DefinitionError(f"Saga {self.name!r} has two steps named {name!r}: rename one.")
        order = list(StepKind)
        kinds = [order.index(step.kind) for step in self.steps]
        if kinds != sorted(kinds) or kinds.count(order.index(StepKind.PIVOT)) > 1:
            raise DefinitionError(
                f"Saga {self.name!r}: put the compensatable steps first, then at most one pivot, then the retriable."
            )
        if StepKind.RETRIABLE in {step.kind for step in self.steps} and 1 not in kinds:
            raise DefinitionError(
                f"Saga {self.name!r} has a step to retry but no pivot before it: mark the pivot."
            )
        for step in self.steps:
            for policy in (step.policy, step.compensation):
                times = (policy.base, policy.max_retry_after)
                if policy.timeout <= 0 or policy.attempts < 1 or min(times) < 0 or policy.cap < policy.base:
                    raise DefinitionError(
                        f"Saga {self.name!r}, step {step.name!r}: a policy needs a time-out above 0, at least one attempt, "
                        "0 <= base <= cap and 0 <= max_retry_after."
                    )
        if self.deadline <= 0 or self.key_window <= 0:
            raise DefinitionError(
                f"Saga {self.name!r}: the deadline and the key window must be above 0 seconds."
            )
        return self


class Definitions:
    """The definitions that this process can run, by name and version."""

    def __init__(self, definitions: Iterable[SagaDefinition]) -> None:
        """Raise `DefinitionError` if one can't be run, or is given twice."""
        self._known: dict[tuple[str, int], SagaDefinition] = {}
        for definition in definitions:
            key = (definition.name, definition.version)
            if key in self._known:
                raise DefinitionError(
                    f"Saga {definition.name!r} version {definition.version} is defined twice."
                )
            self._known[key] = definition.validated()

    def get(self, name: str, version: int) -> SagaDefinition:
        """Return a definition. Raise `DefinitionUnknown` if this process has none of that name and version."""
        try:
            return self._known[name, version]
        except KeyError:
            raise DefinitionUnknown(f"No definition of saga {name!r} version {version} here.") from None

    def keys(self) -> list[tuple[str, int]]:
        """Return the names and versions: what this process can claim."""
        return list(self._known)
