"""The disk is full: new checkouts are refused, running sagas wait, and both continue when there is room again.

SQLite on a process's own: the kernel refuses its writes, as RLIMIT_FSIZE is lowered under it to the size that
the write-ahead log has, and raised again. That needs no privileges; the one difference to a full disk is the
error's name (EFBIG, so SQLITE_IOERR, where a full disk gives ENOSPC and SQLITE_FULL). So SQLITE_FULL is had
in a second test, from SQLite's own limit to a database's pages; PostgreSQL's disk_full (53100) from a trigger.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from uuid_utils import uuid7

from app.saga.model.errors import LogUnavailable
from app.saga.model.events import EventType, SagaEvent
from app.saga.ports.log import NewSaga, Stored
from app.storage import open_storage
from app.storage.engine.database import Database
from tests.chaos.recording_client import RecordingClient, saga_id_in
from tests.processes import Running, a_checkout, an_order, the_services, urls_of

SETTLED_SECONDS = 60.0
ENV = {
    "CHECKOUT_LEASE_SECONDS": "2",
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.2",
    "CHECKOUT_STORAGE_TIMEOUT_SECONDS": "1",
    "CHECKOUT_LOG_LEVEL": "warning",
}
SLOW = {"SANDBOX_LATENCY_SECONDS": "0.5"}
ASYNC = {"Prefer": "respond-async"}


@contextmanager
def _no_room_for(server: Running, database: Path) -> Iterator[None]:
    """Let no file of the server grow beyond its write-ahead log, nor that, until the block ends."""
    size = database.with_name(f"{database.name}-wal").stat().st_size
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, no_limit)


def _stored(database: Path) -> tuple[set[str], set[str]]:
    """Return the keys whose sagas are stored; and those of them whose trail has a beginning."""
    both = """
        SELECT idempotency_key, EXISTS (SELECT 1 FROM saga_log WHERE saga_id = saga.id AND seq = 1) FROM saga
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(both).fetchall()
    return {key for key, _ in rows}, {key for key, has_started in rows if has_started}


def _until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SETTLED_SECONDS
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.05)  # a load balancer asks now and then


def test_sqlite_on_a_full_disk_refuses_and_goes_on(sqlite_url: str, tmp_path: Path) -> None:
    """503 with Retry-After and nothing stored; with room again the same keys give 201, without a restart."""
    client = RecordingClient()
    database = tmp_path / "checkout.db"
    late = [f"late-{number}" for number in range(5)]
    with the_services(tmp_path, SLOW) as services:
        env = {"DATABASE_URL": sqlite_url, **urls_of(services), **ENV}
        with a_checkout(env, tmp_path / "log") as server:
            done = saga_id_in(client.post(server, an_order("ord-done"), "done"))
            keys = [f"started-{number}" for number in range(8)]
            started = [saga_id_in(client.post(server, an_order(key), key, ASYNC)) for key in keys]
            with _no_room_for(server, database):
                for key in late:
                    answer = client.post(server, an_order(key), key)
                    assert answer.status_code == 503
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert int(answer.headers["retry-after"]) > 0
                    assert answer.json()["code"] == "storage_unavailable"
                before = [client.get(server, f"/sagas/{saga_id}").json() for saga_id in started]
                assert "running" in {saga["status"] for saga in before}
                checks = client.get(server, "/readyz").json()["checks"]
                assert not checks["database"]["ok"]
                _until(lambda: not client.get(server, "/readyz").json()["checks"]["lease"]["ok"])
                assert client.get(server, f"/sagas/{done}").json()["status"] == "completed"
                assert len(client.get(server, "/sagas?limit=50").json()["data"]) == 9
                assert [client.get(server, f"/sagas/{saga_id}").json() for saga_id in started] == before, (
                    "what can't be stored isn't shown"
                )
                assert _stored(database) == ({"done", *keys},) * 2
            _until(lambda: client.get(server, "/readyz").status_code == 200)
            with ThreadPoolExecutor(len(late)) as pool:
                answers = list(pool.map(lambda key: client.post(server, an_order(key), key), late))
            assert [answer.status_code for answer in answers] == [201] * len(late)
            sagas = client.settled(server, [done, *started], seconds=SETTLED_SECONDS)
            assert {saga["status"] for saga in sagas} == {"completed"}
            assert server.process.poll() is None, "it went on by itself"
        assert _stored(database) == ({"done", *keys, *late},) * 2
        client.prove(services)


def _a_saga() -> NewSaga:
    return NewSaga(id=str(uuid7()), definition="one", version=1)


def _event(seq: int, event: EventType) -> SagaEvent:
    large = {"ballast": "x" * 100_000}  # so that it can't find room in a page that is there
    return SagaEvent(
        seq=seq, at=datetime(2026, 1, 1, tzinfo=UTC), type=event, step="one", attempt=1, data=large
    )


STARTED = SagaEvent(seq=1, at=datetime(2026, 1, 1, tzinfo=UTC), type=EventType.SAGA_STARTED)


class _Disk:
    """The disk under a database, which can be full."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._url = url
        self._journal: list[sqlite3.Connection] = []
        connect = Database.connect_sqlite

        def noted(database: Database) -> sqlite3.Connection:
            self._journal.append(connect(database))
            return self._journal[-1]

        monkeypatch.setattr(Database, "connect_sqlite", noted)

    @asynccontextmanager
    async def full(self) -> AsyncIterator[None]:
        """Have no room until the block ends."""
        if self._url.startswith("sqlite"):
            self._journal[-1].execute("PRAGMA max_page_count = 1")  # no more than there are
            yield
            self._journal[-1].execute("PRAGMA max_page_count = 1000000")
            return
        connection = await asyncpg.connect(self._url)
        await connection.execute("""
            CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
            END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON saga_log EXECUTE FUNCTION full_disk()
        """)
        yield
        await connection.execute("DROP TRIGGER full_disk ON saga_log")
        await connection.close()


async def test_a_full_disk_is_a_database_that_is_away(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLITE_FULL and 53100 blame no entry: starts are refused, an append waits, and is stored once."""
    disk = _Disk(database_url, monkeypatch)
    async with open_storage(database_url) as storage, asyncio.timeout(SETTLED_SECONDS):
        log, first, second = storage.log, _a_saga(), _a_saga()
        await log.start(first, STARTED, owner="me")
        async with disk.full():
            waiting = asyncio.create_task(
                log.append(first.id, epoch=1, events=[_event(2, EventType.STEP_SUCCEEDED)])
            )
            while "database_unavailable" not in caplog.text:  # noqa: ASYNC110 (only the log shows it)
                await asyncio.sleep(0.01)
            with pytest.raises(LogUnavailable) as refused:
                await log.start(second, STARTED, owner="me")
            assert refused.value.stored is False
            assert not waiting.done()
        await waiting
        assert await log.start(second, STARTED, owner="me") == Stored()
        stored = await log.load(first.id)
        assert stored is not None
        assert [event.seq for event in stored.events] == [1, 2]


async def test_nothing_is_taken_over_while_postgres_has_no_room(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A takeover that can't be noted is none: the saga stays as it was, and is had when there is room."""
    disk = _Disk(postgres_url, monkeypatch)
    async with open_storage(postgres_url) as storage:
        saga = _a_saga()
        await storage.log.start(saga, STARTED, owner="dead")
        async with disk.full():
            with pytest.raises(LogUnavailable) as refused:
                await storage.log.claim(owner="me", definitions=[("one", 1)], limit=10)
            assert refused.value.stored is False
        claimed = await storage.log.claim(owner="me", definitions=[("one", 1)], limit=10)
        assert [(one.saga.id, one.epoch) for one in claimed] == [(saga.id, 2)]
