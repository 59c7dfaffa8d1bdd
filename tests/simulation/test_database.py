"""The simulated database obeys the very rules of `MemoryLog`, which the contract suite holds to those of the real ones."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.saga.model.errors import SagaError, SagaFenced
from app.saga.model.events import EventType
from app.saga.model.status import INACTIVE, SagaStatus
from app.saga.ports.log import NewSaga, RowChange, Stored
from app.saga.ports.memory_log import MemoryLog
from app.storage.journal.entries import AppendEntry, StartEntry
from tests.builders import NOON, VirtualClock, an_action, an_event, by_person
from tests.simulation.database import Database

OWNERS = ("a", "b", "c")
KINDS = (
    *("start", "append", "append", "append", "claim", "abandon", "renew", "release", "pass"),
    *("request_cancel", "pending_cancellations", "operate"),
)


@pytest.mark.parametrize("seed", range(60))
async def test_it_answers_as_the_memory_log_does(seed: int) -> None:
    """Whatever is asked of both, in whatever order, both answer the same and hold the same."""
    rng, clock = random.Random(seed), VirtualClock()
    log, database = MemoryLog(clock), Database(clock.now)
    for step in range(120):
        kind = rng.choice(KINDS)
        if kind == "pass":
            clock.advance(rng.uniform(0.0, 4.0))
            continue
        ask, asked = _a_call(rng, kind, step, clock)
        assert await _of_log(log, ask) == _of_database(database, asked)
    for number in range(120):
        assert await log.load(f"saga-{number}") == database.load(f"saga-{number}")


def _a_call(rng: random.Random, kind: str, step: int, clock: VirtualClock) -> tuple[Any, Any]:
    """Return one call, to the log and to the database."""
    saga_id, owner, epoch = f"saga-{rng.randrange(6)}", rng.choice(OWNERS), rng.randint(1, 3)
    if kind == "start":
        new = NewSaga(
            id=saga_id,
            definition="checkout",
            version=1,
            idempotency_key=rng.choice((None, "k1", "k2")),
            order_id=f"order-{rng.randrange(4)}",
        )
        event = an_event(at=clock.now())
        return (
            lambda log: log.start(new, event, owner=owner),
            lambda database: database.start(StartEntry(saga=new, event=event, owner=owner)),
        )
    if kind == "append":
        event = an_event(EventType.STEP_RETRIED, seq=rng.randint(2, 6), at=clock.now(), attempt=step)
        status = rng.choice(
            (
                None,
                SagaStatus.RUNNING,
                SagaStatus.COMPENSATING,
                SagaStatus.COMPENSATED,
                SagaStatus.NEEDS_ATTENTION,
            )
        )
        final, rests = status is SagaStatus.COMPENSATED, status in INACTIVE
        change = None
        if status is not None:
            change = RowChange(
                status=status,
                next_action_at=None if rests else clock.now() + timedelta(seconds=rng.choice((0, 2))),
                finished_at=clock.now() if final else None,
                park=not rests and rng.random() < 0.5,
                cancellable=not rests and rng.random() < 0.5,
            )
        entry = AppendEntry(saga_id=saga_id, epoch=epoch, events=(event,), change=change)
        return (
            lambda log: log.append(saga_id, epoch=epoch, events=[event], change=change),
            lambda database: _raised(database.append(entry)),
        )
    if kind == "claim":
        asked = {"owner": owner, "definitions": [("checkout", 1)], "limit": rng.randint(1, 3)}
    elif kind == "abandon":
        asked = {"saga_id": saga_id, "epoch": epoch, "until": NOON + timedelta(seconds=step)}
    elif kind == "request_cancel":
        request = an_action(id=f"request-{rng.randrange(3)}", who=owner)
        asked = {"saga_id": saga_id, "request": request, "seen": rng.choice((None, None, 1, 2))}
    elif kind == "operate":
        event = by_person(EventType.RETRY_REQUESTED, action=f"a-{step}")
        event = replace(event, seq=rng.randint(2, 6), at=clock.now())
        asked = {"saga_id": saga_id, "epoch": epoch, "event": event, "status": SagaStatus.RUNNING}
    elif kind == "renew":
        asked = {"owner": owner, "seconds": 5.0}
    else:
        asked = {"owner": owner}
    return (lambda log: getattr(log, kind)(**asked)), (lambda database: getattr(database, kind)(**asked))


def _raised(result: Any) -> None:
    """A journal hands over as a result what the log raises."""
    if isinstance(result, SagaFenced):
        raise result
    assert isinstance(result, Stored)


async def _of_log(log: MemoryLog, ask: Any) -> Any:
    try:
        return await ask(log)
    except SagaError as error:
        return type(error)


def _of_database(database: Database, ask: Any) -> Any:
    try:
        return ask(database)
    except SagaError as error:
        return type(error)
