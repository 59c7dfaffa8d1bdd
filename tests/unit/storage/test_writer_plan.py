"""The writer's plan, which is made once and kept: it must not be the one that was good for empty tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

import asyncpg
from uuid_utils import uuid7

from app.saga.events import EventType, SagaEvent
from app.saga.log import NewSaga
from app.storage import open_storage
from app.storage.postgres_writer import _WRITE, PostgresWriter

AT = datetime(2026, 11, 20, tzinfo=UTC)
PARAMETERS = 36


async def test_tables_that_were_analyzed_while_they_were_empty_are_soon_read_by_their_keys(
    postgres_url: str,
) -> None:
    """Of an empty table all indexes look alike; when it has grown, the wrong one is read from end to end."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("VACUUM ANALYZE saga, saga_log, outbox")
    await connection.close()
    async with open_storage(postgres_url) as storage:
        writer = storage.journal._writer
        assert isinstance(writer, PostgresWriter)
        for _ in range(130):
            saga = NewSaga(id=str(uuid7()), definition="one", version=1, input={})
            started = SagaEvent(seq=1, at=AT, type=EventType.SAGA_STARTED)
            await storage.log.start(saga, started, owner="me")
            done = SagaEvent(seq=2, at=AT, type=EventType.STEP_SUCCEEDED, step="payment", attempt=1)
            await storage.log.append(saga.id, epoch=1, events=[done])
        assert writer._connection is not None
        name = await writer._connection.fetchval(
            "SELECT name FROM pg_prepared_statements WHERE statement = $1", _WRITE
        )
        nothing = ", ".join(["NULL"] * PARAMETERS)
        rows = await writer._connection.fetch(f'EXPLAIN EXECUTE "{name}"({nothing})')
    plan = [row[0].strip() for row in rows]
    scans = [(line, below) for line, below in pairwise(plan) if line.split(" using ")[1:]]
    assert len(scans) == 5
    for line, below in scans:
        assert " using pk_saga" in line, plan
        assert re.match(r"Index Cond: \(+(saga_)?id = ", below), plan
