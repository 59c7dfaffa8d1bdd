"""What a process knows of a saga that it runs: exactly what is durable."""

from __future__ import annotations

import asyncio

from app.saga import SagaStatus, StoredSaga
from app.saga.engine.saga_instance import SagaInstance
from app.saga.rules.fold import fold
from tests.builders import a_definition, a_saga, a_state, a_trail, settle, started, succeeded


def test_a_new_run_knows_nothing() -> None:
    """Until its start is durable it has no event, and is of the first epoch."""
    run = SagaInstance(a_saga(), a_definition())
    assert (run.events, run.epoch, run.state.seq, run.parked) == ([], 1, 0, False)


def test_a_resumed_saga_is_where_the_log_says() -> None:
    """State, events and epoch are the stored ones."""
    definition, trail = a_definition(), a_trail(started(), succeeded("payment", id="p-1"))
    stored = StoredSaga(saga=a_saga(), status=SagaStatus.RUNNING, epoch=3, events=trail)
    run = SagaInstance.of(stored, definition)
    assert run.state == fold(definition, trail)
    assert (run.events, run.epoch) == (list(trail), 3)


def test_the_context_is_the_input_the_id_and_each_result_under_its_step() -> None:
    """What the first sketch calls context."""
    run = SagaInstance(a_saga(id="s-1", input={"amount": 5}), a_definition())
    run.advance(a_state(succeeded("payment", id="p-1"), succeeded("inventory")), [])
    assert run.context() == {"amount": 5, "saga_id": "s-1", "payment": {"id": "p-1"}, "inventory": {}}


def test_an_input_can_not_forge_the_saga_s_id() -> None:
    """References are made from it."""
    run = SagaInstance(a_saga(id="s-1", input={"saga_id": "another"}), a_definition())
    assert run.context()["saga_id"] == "s-1"


def test_what_a_step_writes_into_its_context_is_not_kept() -> None:
    """The body is identical on every retry, so each send gets the context anew."""
    run = SagaInstance(a_saga(input={"amount": 5}), a_definition())
    run.advance(a_state(succeeded("payment", id="p-1")), [])
    context = run.context()
    context["amount"] = 6
    context["payment"]["id"] = "p-2"
    assert run.context() == {"amount": 5, "saga_id": run.saga.id, "payment": {"id": "p-1"}}


def test_what_a_step_writes_deep_into_its_context_is_not_kept() -> None:
    """Nested values are made anew too: a list that a step appends to is not the saga's input."""
    run = SagaInstance(a_saga(input={"items": [{"sku": "A"}]}), a_definition())
    run.advance(a_state(succeeded("payment", lines=[1])), [])
    context = run.context()
    context["items"][0]["sku"] = "B"
    context["payment"]["lines"].append(2)
    assert run.context() == {"items": [{"sku": "A"}], "saga_id": run.saga.id, "payment": {"lines": [1]}}


async def test_those_that_wait_for_a_change_are_woken_by_each() -> None:
    """Several may wait, and none misses the next."""
    run = SagaInstance(a_saga(), a_definition())
    waiting = [asyncio.create_task(run.changed()) for _ in range(3)]
    await settle()
    assert not any(task.done() for task in waiting)
    run.advance(a_state(), list(a_trail(started())))
    await asyncio.gather(*waiting)
    again = asyncio.create_task(run.changed())
    await settle()
    assert not again.done()
    run.advance(a_state(succeeded("payment")), [])
    await again
