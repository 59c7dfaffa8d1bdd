"""What is new of many sagas, on either database."""

from __future__ import annotations

from app.saga.model.events import EventType, SagaEvent
from app.saga.ports.log import NewSaga
from app.storage import open_storage
from tests.builders import NOON, an_id


async def test_each_saga_gives_what_is_behind_the_seq_given_for_it(database_url: str) -> None:
    """In order and whole, however many are asked about at once; a saga that nobody has gives nothing."""
    async with open_storage(database_url) as storage:
        ids = [an_id() for _ in range(3)]
        stored: dict[str, list[SagaEvent]] = {}
        for saga_id in ids:
            stored[saga_id] = [SagaEvent(seq=1, at=NOON, type=EventType.SAGA_STARTED)]
            await storage.log.start(
                NewSaga(id=saga_id, definition="one", version=1), stored[saga_id][0], owner="me"
            )
            for seq in (2, 3):
                error = {"error": {"code": "x", "message": "ü"}}
                event = SagaEvent(
                    seq=seq, at=NOON, type=EventType.STEP_RETRIED, step="payment", attempt=seq, data=error
                )
                await storage.log.append(saga_id, epoch=1, events=[event])
                stored[saga_id].append(event)
        news = await storage.queries.since({ids[0]: 0, ids[1]: 2, ids[2]: 3, an_id(): 0})
    assert news == {ids[0]: stored[ids[0]], ids[1]: stored[ids[1]][2:]}
