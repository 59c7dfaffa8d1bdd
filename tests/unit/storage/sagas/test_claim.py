"""A claim that an old owner's last append comes into the middle of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from uuid_utils import uuid7

import app.storage.sagas.claims
import app.storage.sagas.saga_rows
from app.saga.model.events import EventType, SagaEvent
from app.saga.ports.log import NewSaga
from app.storage import open_storage

AT = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_claim_that_is_overtaken_by_an_append_tries_again_and_takes_the_saga_with_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Only PostgreSQL lets the two run at once; what the old owner stored before the takeover stands."""
    read_sagas = app.storage.sagas.saga_rows.read_sagas
    overtaken = 0
    async with open_storage(postgres_url) as storage:
        saga = NewSaga(id=str(uuid7()), definition="one", version=1, input={})
        started = SagaEvent(seq=1, at=AT, type=EventType.SAGA_STARTED)
        await storage.log.start(saga, started, owner="dead")

        async def overtaking(*args: Any, **named: Any) -> Any:
            nonlocal overtaken
            found = await read_sagas(*args, **named)
            if overtaken < times:
                overtaken += 1
                event = SagaEvent(
                    seq=1 + overtaken, at=AT, type=EventType.STEP_RETRIED, step="payment", attempt=overtaken
                )
                await storage.log.append(saga.id, epoch=1, events=[event])
            return found

        monkeypatch.setattr(app.storage.sagas.claims, "read_sagas", overtaking)
        taken = await storage.log.claim(owner="heir", definitions=[("one", 1)], limit=10)
        if times == app.storage.sagas.claims.CLAIM_TRIES:  # given up for now, and nothing half done
            assert taken == []
            taken = await storage.log.claim(owner="heir", definitions=[("one", 1)], limit=10)
        monkeypatch.undo()
        stored = await storage.log.load(saga.id)

    assert overtaken == times
    assert [(one.saga.id, one.epoch) for one in taken] == [(saga.id, 2)]
    assert stored is not None
    assert taken[0].events == stored.events
    assert [event.type for event in stored.events] == [
        EventType.SAGA_STARTED,
        *[EventType.STEP_RETRIED] * times,
        EventType.SAGA_RECOVERED,
    ]
