"""The product with a bug put in: each bug is one that this project promises not to have.

with MUTANTS["no fence"].planted():
    run(seed)    # some seed must break one of the promises that the mutant names
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from app.gateway.port import Call, GatewayVerb, JsonObject, Participant
from app.saga.engine import orchestrator as orchestrators
from app.saga.engine import step_call
from app.saga.engine.lease_keeper import LeaseKeeper
from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.engine.recovery import Recovery
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.errors import StepOutcomeUnknown, StepUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.state import SagaState, StepState
from app.saga.model.status import StepStatus
from app.saga.ports.log import StartResult, Stored, StoredSaga
from app.saga.rules import decide, transitions
from app.saga.rules.decisions import Execute
from app.saga.rules.fold import apply
from app.storage.journal.entries import AppendEntry, CommitUnknown, Entry, Result
from app.storage.journal.journal import Journal
from tests.simulation.database import Database, Row
from tests.simulation.network import ServiceGateway
from tests.simulation.storage import ReplicaLog


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug, and the promises of which it must break one at least."""

    what: str
    breaks: frozenset[str]
    planted: Callable[[], AbstractContextManager[None]]


MUTANTS: dict[str, Mutant] = {}


def _mutant(name: str, what: str, *breaks: str) -> Callable[[Callable[[], Iterator[None]]], None]:
    def add(plant: Callable[[], Iterator[None]]) -> None:
        MUTANTS[name] = Mutant(what, frozenset(breaks), contextmanager(plant))

    return add


@_mutant("attempt in the key", "every send has a key of its own", "same_request")
def _attempt_in_key() -> Iterator[None]:
    to, numbers = Call.to, itertools.count(1)

    def mutated(service: Participant, action: GatewayVerb, **kwargs: Any) -> Call:
        call = to(service, action, **kwargs)
        return replace(call, idempotency_key=f"{call.idempotency_key}:{next(numbers)}")

    with patch.object(Call, "to", mutated):
        yield


@_mutant(
    "attempt in the reference", "every send names a resource of its own", "one_charge", "completed_stands",
    "compensated_leaves_nothing", "nobody_elses",
)  # fmt: skip
def _attempt_in_reference() -> Iterator[None]:
    put = ServiceGateway.put

    async def mutated(self: ServiceGateway, call: Call, body: JsonObject) -> JsonObject:
        sent = self._world.counts[f"sent {self._service} {call.reference}"] = (
            self._world.counts[f"sent {self._service} {call.reference}"] + 1
        )
        reference = call.reference if sent == 1 else f"{call.reference}-{sent}"
        return await put(self, replace(call, reference=reference), body)

    with patch.object(ServiceGateway, "put", mutated):
        yield


@_mutant(
    "no fence", "an append is stored whatever its epoch and seq", "trail", "final_is_final", "edges",
    "acknowledged_is_kept", "reverse_order",
)  # fmt: skip
def _no_fence() -> Iterator[None]:
    def mutated(_self: Database, row: Row, entry: AppendEntry) -> bool:
        del row.events[entry.events[0].seq - 1 :]  # written over, as an upsert does
        return True

    with patch.object(Database, "may_append", mutated):
        yield


@_mutant(
    "effect before log", "the first step begins before the saga is durable", "nobody_elses", "one_charge",
    "acknowledged_is_kept",
)  # fmt: skip
def _effect_before_log() -> Iterator[None]:
    start = SagaOrchestrator.start

    async def mutated(self: SagaOrchestrator, run: SagaInstance) -> StartResult:
        storing = asyncio.ensure_future(start(self, run))
        storing.add_done_callback(lambda task: task.cancelled() or task.exception())
        event = SagaEvent(seq=1, at=self._clock.now(), type=EventType.SAGA_STARTED)
        run.owner = self._lease.owner if self._lease else None
        await step_call.call(Execute(step=run.definition.steps[0], attempt=1), run.context(), self._timeouts)
        result = await storing
        if not run.events and isinstance(result, Stored):
            self._note(run, apply(run.state, event), [event])
        return result

    with patch.object(SagaOrchestrator, "start", mutated):
        yield


@_mutant("forward compensation", "what was done first is undone first", "reverse_order")
def _forward_compensation() -> Iterator[None]:
    def mutated(self: SagaState) -> StepState | None:
        done = {StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}
        return next((self.step(n) for n in self.completion_order if self.step(n).status not in done), None)

    with patch.object(SagaState, "next_compensation", property(mutated)):
        yield


@_mutant(
    "unknown is no", "a silence counts as certainly nothing done", "compensated_leaves_nothing",
    "undone_what_was_done",
)  # fmt: skip
def _unknown_is_no() -> Iterator[None]:
    ask = step_call.call

    async def mutated(action: Any, context: Any, timeouts: Any) -> Any:
        answer = await ask(action, context, timeouts)
        if isinstance(answer, StepOutcomeUnknown) and isinstance(action, Execute):
            return StepUnavailable(str(answer), retry_after=answer.retry_after)
        return answer

    with patch.object(orchestrators, "call", mutated):
        yield


@_mutant("local clock", "a lease is judged by the clock of whoever asks", "no_theft", "finished_in_time")
def _local_clock() -> Iterator[None]:
    init = Recovery.__init__

    def mutated_init(self: Recovery, log: ReplicaLog, *args: Any, **kwargs: Any) -> None:
        init(self, log, *args, **kwargs)
        log.wall = kwargs["clock"].wall  # type: ignore[attr-defined]

    async def mutated_renew(self: ReplicaLog, owner: str, *, seconds: float) -> datetime:
        now = self.wall()  # type: ignore[attr-defined]
        return await self._ask("renew", owner, lambda: self._database.renew(owner, seconds=seconds, now=now))

    async def mutated_claim(self: ReplicaLog, *, owner: str, **kwargs: Any) -> list[StoredSaga]:
        now = self.wall()  # type: ignore[attr-defined]
        return await self._ask("claim", owner, lambda: self._database.claim(owner=owner, now=now, **kwargs))

    with (
        patch.object(Recovery, "__init__", mutated_init),
        patch.object(ReplicaLog, "renew", mutated_renew),
        patch.object(ReplicaLog, "claim", mutated_claim),
    ):
        yield


@_mutant(
    "synchronous=NORMAL", "a database that forgets its last commits when the power fails",
    "acknowledged_is_kept", "trail", "nobody_elses", "final_is_final",
)  # fmt: skip
def _synchronous_normal() -> Iterator[None]:
    with patch.object(Database, "forgets", 3):
        yield


@_mutant(
    "after the key window",
    "an action is sent again when its key is forgotten",
    "one_charge",
    "completed_stands",
)
def _after_the_key_window() -> Iterator[None]:
    with patch.object(decide, "_key_expired", lambda *_: False):
        yield


@_mutant(
    "stored at a guess", "a batch whose COMMIT was not answered counts as stored", "acknowledged_is_kept",
    "nobody_elses", "finished_in_time", "deadlock",
)  # fmt: skip
def _stored_at_a_guess() -> Iterator[None]:
    async def mutated(self: Journal, entries: list[Entry], *, hurried: bool = False) -> list[Result | None]:
        try:
            return await self._writer.write(entries, hurried=hurried)
        except CommitUnknown:
            return [Stored() for _ in entries]

    with patch.object(Journal, "_write", mutated):
        yield


@_mutant(
    "unknown not undone", "a step of unknown outcome is given up without its compensation",
    "compensated_leaves_nothing", "undone_what_was_done",
)  # fmt: skip
def _unknown_not_undone() -> Iterator[None]:
    abandon = transitions.TRANSITIONS[EventType.STEP_UNKNOWN]

    def mutated(state: SagaState, event: SagaEvent) -> SagaState:
        after = abandon(state, event)
        order = tuple(name for name in after.completion_order if name != event.step)
        return transitions._start_next_compensation(replace(after, completion_order=order))

    with patch.dict(transitions.TRANSITIONS, {EventType.STEP_UNKNOWN: mutated}):
        yield


@_mutant(
    "undone unacknowledged", "a compensation that was not answered counts as done",
    "compensated_leaves_nothing", "reverse_order", "undone_what_was_done",
)  # fmt: skip
def _undone_unacknowledged() -> Iterator[None]:
    ask = step_call.call

    async def mutated(action: Any, context: Any, timeouts: Any) -> Any:
        answer = await ask(action, context, timeouts)
        if isinstance(answer, StepOutcomeUnknown) and not isinstance(action, Execute):
            return {"status": "closed"}
        return answer

    with patch.object(orchestrators, "call", mutated):
        yield


@_mutant(
    "a lapse is no death", "whoever lost the lease comes back under the same name and goes on",
    "finished_in_time", "taken_over_in_time", "acknowledged_is_kept", "nothing_breaks_down", "serves_again",
)  # fmt: skip
def _lapse_is_no_death() -> Iterator[None]:
    async def mutated(self: LeaseKeeper) -> None:
        self._lease._lost = False
        self._lease._until = None

    with patch.object(LeaseKeeper, "_assume_new_identity", mutated):
        yield


__all__ = ["MUTANTS", "Mutant"]
