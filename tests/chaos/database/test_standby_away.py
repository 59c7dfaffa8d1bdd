"""The synchronous standby is away: what it doesn't have is neither acknowledged nor shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partialmethod

import pytest
from uuid_utils import uuid7

from app.saga.model.errors import LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import (
    BusinessKeyConflict,
    IdempotencyConflict,
    NewSaga,
    StartResult,
)
from app.storage import Storage, open_storage
from app.storage.engine.database import Database
from app.storage.schema.migrations import upgrade
from tests.chaos.database.replicated_postgres import ReplicatedPostgres, a_replicated_postgres

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = SagaEvent(seq=1, at=NOW, type=EventType.SAGA_STARTED)
GIVEN_UP_SECONDS = 0.5
A_WHILE = 5 * GIVEN_UP_SECONDS
"""Long enough for a write to be given up, and tried again on another connection, more than once."""
PATIENCE = 30.0


@pytest.fixture(scope="module")
def followed() -> Iterator[ReplicatedPostgres]:
    """Give a migrated postgres."""
    with a_replicated_postgres() as started:
        upgrade(started.primary)
        yield started


@pytest.fixture
def postgres(followed: ReplicatedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicatedPostgres]:
    """Give the postgres, with its standby awake before and after, to a service that soon gives up a silent database."""
    monkeypatch.setattr("app.storage.journal.postgres_writer.ANSWER_SECONDS", GIVEN_UP_SECONDS)
    impatient = partialmethod(Database.engine, command_seconds=GIVEN_UP_SECONDS)
    monkeypatch.setattr("app.storage.engine.database.Database.engine", impatient)
    try:
        yield followed
    finally:
        followed.thaw_standby()


def _a_saga() -> NewSaga:
    saga_id = str(uuid7())
    return NewSaga(
        id=saga_id,
        definition="one",
        version=1,
        order_id=f"order {saga_id}",
        idempotency_key=f"key {saga_id}",
        fingerprint="same",
    )


def _again(saga: NewSaga) -> NewSaga:
    """Return what a client's repeat of the same request becomes: a saga of its own."""
    return replace(saga, id=str(uuid7()))


async def _start(storage: Storage, saga: NewSaga) -> StartResult:
    """Begin it as a client does who comes again while the database is unavailable."""
    while True:
        try:
            return await storage.log.start(saga, STARTED, owner="me")
        except LogUnavailable:
            await asyncio.sleep(0.05)  # Retry-After


@asynccontextmanager
async def _unanswered(what: Awaitable[object]) -> AsyncIterator[None]:
    """Hold that it isn't answered for a while, nor while the block runs; afterwards leave it."""
    asked = asyncio.ensure_future(what)
    try:
        done, _ = await asyncio.wait({asked}, timeout=A_WHILE)
        assert not done, f"it was answered: {asked}"
        yield
        assert not asked.done(), f"it was answered: {asked}"
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def test_a_start_that_no_standby_has_is_neither_acknowledged_nor_shown(
    postgres: ReplicatedPostgres,
) -> None:
    """Given up and written again, it stays hidden, also from another replica's client; then it is there, once."""
    saga = _a_saga()
    async with open_storage(postgres.url) as one, open_storage(postgres.url) as other:
        postgres.freeze_standby()
        async with _unanswered(_start(one, saga)):
            assert await other.log.load(saga.id) is None
            async with _unanswered(_start(other, _again(saga))):
                assert await other.log.load(saga.id) is None
        postgres.thaw_standby()
        async with asyncio.timeout(PATIENCE):
            assert await _start(other, _again(saga)) == IdempotencyConflict(
                saga_id=saga.id, fingerprint="same"
            )


async def test_a_takeover_that_no_standby_has_is_not_shown(postgres: ReplicatedPostgres) -> None:
    """A claim whose COMMIT is given up must not be committed by that: its event would be lost in a failover."""
    saga = _a_saga()
    async with open_storage(postgres.url) as one:
        await one.log.start(saga, STARTED, owner="dead")
        postgres.freeze_standby()
        with pytest.raises(LogUnavailable) as raised:
            await one.log.claim(owner="me", definitions=[("one", 1)], limit=100)
        assert raised.value.stored is None
        stored = await one.log.load(saga.id)
        assert stored is not None
        assert (stored.epoch, len(stored.events)) == (1, 1)


@pytest.mark.parametrize("repeats", ["key", "order"])
async def test_a_primary_that_restarts_alone_acknowledges_nothing_new(
    repeats: str, postgres: ReplicatedPostgres
) -> None:
    """Its recovery makes visible what was never answered; a client that repeats it is answered once a standby has it."""
    saga = _a_saga()

    def again() -> NewSaga:
        return _again(saga if repeats == "key" else replace(saga, idempotency_key=None))

    postgres.freeze_standby()
    async with open_storage(postgres.url) as one, _unanswered(_start(one, saga)):
        pass
    postgres.restart_primary()
    async with open_storage(postgres.url) as other:
        assert await other.log.load(saga.id) is not None, (
            "the restart made nothing visible: this proves nothing"
        )
        async with _unanswered(_start(other, again())):
            pass
        postgres.thaw_standby()
        async with asyncio.timeout(PATIENCE):
            assert await _start(other, again()) == (
                IdempotencyConflict(saga_id=saga.id, fingerprint="same")
                if repeats == "key"
                else BusinessKeyConflict(saga_id=saga.id, status=SagaStatus.RUNNING)
            )
