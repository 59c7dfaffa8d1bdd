"""A new SQLite file that several processes open together: none of them is turned away."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.sandbox.ledger import Ledger
from app.sqlite.write_ahead_log import BUSY_SECONDS, switch_to_wal
from app.storage.engine.database import Database
from app.storage.schema.migrations import upgrade


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new.db"


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process, in the midst of writing to a file that has not switched yet."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO theirs VALUES (1)")
        yield connection


@pytest.fixture
def asked_again(writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between two attempts; the writer is done after the second."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            writer.execute("COMMIT")

    monkeypatch.setattr("app.sqlite.write_ahead_log.sleep", sleep)
    return waits


async def _a_ledger(path: Path) -> None:
    await Ledger(str(path)).aclose()


async def _the_journal(path: Path) -> None:
    Database(f"sqlite:///{path}").connect_sqlite().close()


async def _the_schema(path: Path) -> None:
    upgrade(f"sqlite:///{path}")


@pytest.mark.parametrize("opened", [_a_ledger, _the_journal, _the_schema])
async def test_a_file_that_another_process_begins_is_waited_for(
    opened: Callable[[Path], Awaitable[None]], path: Path, asked_again: list[float]
) -> None:
    """SQLite itself says "database is locked" at once here, however long the busy timeout."""
    await opened(path)
    assert len(asked_again) == 2
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT x FROM theirs").fetchall() == [(1,)]


@pytest.mark.usefixtures("writer")
def test_a_file_that_stays_busy_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its time, and with SQLite's own words."""
    seconds = 0.0

    def sleep(more: float) -> None:
        nonlocal seconds
        seconds += more

    monkeypatch.setattr("app.sqlite.write_ahead_log.sleep", sleep)
    monkeypatch.setattr("app.sqlite.write_ahead_log.monotonic", lambda: seconds)
    with (
        closing(sqlite3.connect(path)) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        switch_to_wal(connection.execute)
    assert seconds == pytest.approx(BUSY_SECONDS, abs=0.1)


def test_another_error_is_raised_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting would not mend it."""
    waits: list[float] = []
    monkeypatch.setattr("app.sqlite.write_ahead_log.sleep", waits.append)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        switch_to_wal(connection.execute)
    assert not waits
