"""A replica learns which of its sagas an operator wants cancelled, whichever replica was asked."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from app.saga import NewSaga
from app.saga.engine.saga_task import SagaTask
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from tests.builders import an_action
from tests.unit.saga.engine.replica import Replica, a_replica


async def _in_back_off(replica: Replica, saga_id: str) -> SagaTask:
    """Have the replica run a saga that waits, and return it."""
    at = replica.clock.now()
    replica.clock.hold = True
    later = (at + timedelta(seconds=3)).isoformat()
    retry = SagaEvent(
        seq=2,
        at=at,
        type=EventType.STEP_RETRIED,
        step="payment",
        attempt=1,
        data={"outcome": "unavailable", "next_action_at": later},
    )
    await replica.log.start(
        NewSaga(id=saga_id, definition="one", version=1),
        SagaEvent(seq=1, at=at, type=EventType.SAGA_STARTED),
        owner=replica.lease.owner,
    )
    await replica.log.append(saga_id, epoch=1, events=[retry])
    stored = await replica.log.load(saga_id)
    assert stored is not None
    running = replica.runner.resume(stored, owner=replica.lease.owner)
    await asyncio.sleep(0)
    return running


async def test_the_owner_finds_a_cancellation_request_that_another_replica_received() -> None:
    """Of its own sagas alone, and a back-off ends for it."""
    replica = a_replica()
    await replica.keeper.renew()
    wanted, other = await _in_back_off(replica, "wanted"), await _in_back_off(replica, "other")
    assert await replica.log.request_cancel("wanted", an_action()) is not None
    await replica.cancellations.poll()
    await asyncio.wait_for(wanted.done, 60)
    assert wanted.instance.state.status is SagaStatus.COMPENSATED
    assert wanted.instance.state.cancelled_by is not None
    assert not other.done.done()
    await replica.runner.drop()


async def test_nobody_listens_without_a_reason() -> None:
    """A replica that runs nothing to be cancelled, or may not act, asks the database nothing."""
    replica = a_replica()

    async def asked(owner: str) -> dict[str, OperatorAction]:
        raise AssertionError(f"the database was asked for {owner}")

    replica.log.pending_cancellations = asked  # type: ignore[method-assign]
    await replica.cancellations.poll()
    await replica.keeper.renew()
    await replica.cancellations.poll()
    running = await _in_back_off(replica, "a")
    running.instance.cancel(an_action())
    await replica.cancellations.poll()
    await replica.runner.drop()
