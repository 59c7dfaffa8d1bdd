"""The plan of the journal's one statement: also made while nothing is known of its tables, it reads them by their keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

import asyncpg
from uuid_utils import uuid7

from app.saga.model.events import EventType, SagaEvent
from app.saga.ports.log import NewSaga
from app.storage import open_storage
from app.storage.journal.postgres_batch import WRITE_BATCH
from app.storage.journal.postgres_writer import _PLANNED, PostgresWriter

AT = datetime(2026, 11, 20, tzinfo=UTC)
PARAMETERS = len(set(re.findall(r"\$\d+", WRITE_BATCH)))


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
            "SELECT name FROM pg_prepared_statements WHERE statement = $1", WRITE_BATCH
        )
        nothing = ", ".join(["NULL"] * PARAMETERS)
        rows = await writer._connection.fetch(f'EXPLAIN EXECUTE "{name}"({nothing})')
    plan = [row[0].strip() for row in rows]
    scans = [(line, below) for line, below in pairwise(plan) if line.split(" using ")[1:]]
    assert len(scans) == 5
    for line, below in scans:
        assert " using pk_saga" in line, plan
        assert re.match(r"Index Cond: \(+(saga_)?id = ", below), plan


async def test_no_table_is_read_as_a_whole_before_it_was_ever_analyzed(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(_PLANNED)
        await connection.execute(f"PREPARE written AS {WRITE_BATCH}")
        nothing = ", ".join(["NULL"] * PARAMETERS)
        plan = [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE written({nothing})")]
    finally:
        await connection.close()
    read = [(line, below) for line, below in pairwise(plan) if re.search(r"Scan.* on saga", line)]
    assert read
    assert [line for line, below in read if "Index Cond" not in below] == []
