"""A definition reads as a sentence, and one that can't be run is refused at start, saying what to do."""

from __future__ import annotations

import pytest

from app.saga import DefinitionError, Definitions, RetryPolicy, SagaDefinition, StepKind
from app.saga.model.definition import PATIENT
from app.saga.model.errors import DefinitionUnknown
from tests.builders import a_definition, a_step

PAYMENT, INVENTORY, SHIPPING = a_step("payment"), a_step("inventory"), a_step("shipping")


def test_a_definition_reads_as_a_sentence() -> None:
    """Steps in their order, each with its kind."""
    saga = SagaDefinition("checkout").do(PAYMENT).pivot(INVENTORY).then(SHIPPING)
    assert [(step.name, step.kind) for step in saga.validated()] == [
        ("payment", StepKind.COMPENSATABLE),
        ("inventory", StepKind.PIVOT),
        ("shipping", StepKind.RETRIABLE),
    ]


def test_adding_a_step_leaves_the_shorter_saga_as_it_was() -> None:
    """A definition is a value."""
    short = SagaDefinition("checkout").do(PAYMENT)
    short.do(INVENTORY)
    assert len(short.steps) == 1


def test_going_back_and_going_on_after_the_pivot_are_patient_by_default() -> None:
    """Giving up there costs a person's time."""
    steps = SagaDefinition("checkout").do(PAYMENT).pivot(INVENTORY).then(SHIPPING).steps
    assert steps[0].compensation == steps[1].compensation == steps[2].policy == PATIENT
    assert PATIENT.attempts > steps[0].policy.attempts


@pytest.mark.parametrize(
    ("saga", "message"),
    [
        (SagaDefinition("").do(PAYMENT), "Give the saga a name and a version from 1."),
        (SagaDefinition("checkout", version=0).do(PAYMENT), "Give the saga a name and a version from 1."),
        (SagaDefinition("checkout"), "Saga 'checkout' has no steps: add one with .do(step)."),
        (
            SagaDefinition("checkout").do(PAYMENT).do(PAYMENT),
            "Saga 'checkout' has two steps named 'payment': rename one.",
        ),
        (
            SagaDefinition("checkout").pivot(PAYMENT).do(INVENTORY),
            "Saga 'checkout': put the compensatable steps first, then at most one pivot, then the retriable.",
        ),
        (
            SagaDefinition("checkout").pivot(PAYMENT).pivot(INVENTORY),
            "Saga 'checkout': put the compensatable steps first, then at most one pivot, then the retriable.",
        ),
        (
            SagaDefinition("checkout").pivot(PAYMENT).then(INVENTORY).do(SHIPPING),
            "Saga 'checkout': put the compensatable steps first, then at most one pivot, then the retriable.",
        ),
        (
            SagaDefinition("checkout").do(PAYMENT).then(INVENTORY),
            "Saga 'checkout' has a step to retry but no pivot before it: mark the pivot.",
        ),
        (
            SagaDefinition("checkout", deadline=0).do(PAYMENT),
            "Saga 'checkout': the deadline and the key window must be above 0 seconds.",
        ),
        (
            SagaDefinition("checkout", key_window=0).do(PAYMENT),
            "Saga 'checkout': the deadline and the key window must be above 0 seconds.",
        ),
    ],
)
def test_a_definition_that_can_not_be_run_says_what_to_do(saga: SagaDefinition, message: str) -> None:
    """A full sentence, at start, not at the first checkout."""
    with pytest.raises(DefinitionError) as refused:
        saga.validated()
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(timeout=0),
        RetryPolicy(attempts=0),
        RetryPolicy(base=-1),
        RetryPolicy(base=2, cap=1),
        RetryPolicy(max_retry_after=-1),
    ],
)
def test_a_policy_that_can_not_be_followed_is_refused_in_either_direction(policy: RetryPolicy) -> None:
    """The message names the saga and the step."""
    forward = SagaDefinition("checkout").do(PAYMENT, policy=policy)
    backward = SagaDefinition("checkout").do(PAYMENT, compensation=policy)
    for saga in (forward, backward):
        with pytest.raises(
            DefinitionError, match="Saga 'checkout', step 'payment': a policy needs a time-out above 0"
        ):
            saga.validated()


@pytest.mark.parametrize("name", ["", "saga_id"])
def test_a_step_needs_a_name_that_the_context_has_room_for(name: str) -> None:
    """Its result stands under its name, where `saga_id` stands already; every reference is made from that."""
    with pytest.raises(DefinitionError):
        SagaDefinition("checkout").do(a_step(name)).validated()


def test_definitions_are_found_by_name_and_version() -> None:
    """A saga finishes on the definition that it began with."""
    one, two = SagaDefinition("checkout").do(PAYMENT), SagaDefinition("checkout", version=2).do(INVENTORY)
    definitions = Definitions([one, two])
    assert definitions.get("checkout", 1) is one
    assert definitions.get("checkout", 2) is two
    assert definitions.keys() == [("checkout", 1), ("checkout", 2)]


def test_the_same_definition_twice_is_refused() -> None:
    """One name and version, one meaning."""
    with pytest.raises(DefinitionError, match="version 2 is defined twice"):
        Definitions([a_definition(), a_definition()])


def test_a_set_of_definitions_is_validated_at_start() -> None:
    """A process with one that can't be run does not begin."""
    with pytest.raises(DefinitionError, match="has no steps"):
        Definitions([SagaDefinition("checkout")])


@pytest.mark.parametrize(("name", "version"), [("checkout", 1), ("refund", 1)])
def test_an_unknown_definition_is_said_by_name(name: str, version: int) -> None:
    """The saga is left to a process that has it."""
    with pytest.raises(DefinitionUnknown, match=rf"No definition of saga '{name}' version {version} here\."):
        Definitions([a_definition()]).get(name, version)
