"""A SQLite file that is removed, replaced or hidden while it is open."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.api import AppContext
from app.bootstrap.service import open_service
from app.cli.demo import an_order
from app.gateway.port import Participant
from app.saga.model.errors import LogUnavailable
from app.sandbox.ledger import Ledger
from app.sandbox.request import Request, Verb
from app.settings.settings import Settings
from app.sqlite.file import SqliteFileError
from app.storage.schema.migrations import upgrade


def _removed(path: Path) -> None:
    for part in ("", "-wal", "-shm"):
        Path(f"{path}{part}").unlink(missing_ok=True)


def _its_log_removed(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def _moved_away(path: Path) -> None:
    path.rename(path.with_suffix(".away"))


def _replaced_by_a_copy(path: Path) -> None:
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    copy.replace(path)


def _hidden_by_another_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_suffix(".away"))
    path.parent.mkdir()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    upgrade(f"sqlite:///{folder}/x.db")
    return folder / "x.db"


def _rename(path: Path, to: Path) -> None:
    path.rename(to)


async def _check_out(service: AppContext, number: int) -> None:
    started = await service.starter.start(an_order(number, "lost"), log_timeout=0.3)
    await service.reader.wait(started.saga_id, seconds=5)


@pytest.mark.parametrize(
    "lose", [_removed, _its_log_removed, _moved_away, _replaced_by_a_copy, _hidden_by_another_folder]
)
async def test_nothing_is_acknowledged_that_nobody_will_find(
    lose: Callable[[Path], None], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not ready, 503, one sentence in the log, and no empty file in its place."""
    settings = Settings(
        database_url=SecretStr(f"sqlite:///{path}"),
        sandbox_database=":memory:",
        storage_timeout_seconds=0.3,
        drain_seconds=0.3,
    )
    logging.getLogger("app.sqlite.file").propagate = True
    async with open_service(settings) as service:
        await _check_out(service, 1)
        assert set((await service.health.checks()).values()) == {None}
        lose(path)
        there = sorted(path.parent.iterdir())
        for number in (2, 3):
            with pytest.raises(LogUnavailable):
                await _check_out(service, number)
        assert (await service.health.checks())["database"] is not None
        with pytest.raises(LogUnavailable):
            await service.reader.get("any")
        assert sorted(path.parent.iterdir()) == there
    lost = [vars(record) for record in caplog.records if record.message == "database_file_lost"]
    assert [record["hint"].startswith("The database's file ") for record in lost] == [True]


async def test_once_the_same_file_is_back_the_service_goes_on(path: Path) -> None:
    """A mount that came late, or somebody's mistake that was set right."""
    settings = Settings(
        database_url=SecretStr(f"sqlite:///{path}"),
        sandbox_database=":memory:",
        storage_timeout_seconds=0.3,
        drain_seconds=0.3,
    )
    away = path.with_suffix(".away")
    async with open_service(settings) as service:
        _rename(path, away)
        with pytest.raises(LogUnavailable):
            await _check_out(service, 1)
        _rename(away, path)
        async with asyncio.timeout(60):
            while (await service.health.checks())["database"] is not None:
                pass  # each check waits for the database
        await _check_out(service, 2)


async def test_the_sandboxs_books_are_watched_as_well(tmp_path: Path) -> None:
    """A service that answered stands by its answer."""
    path = tmp_path / "books.db"
    ledger = Ledger(str(path))
    request = Request(
        service=Participant.PAYMENT, verb=Verb.GET, reference="r", idempotency_key="k", body=None
    )
    assert (await ledger.handle(request)).answer is not None
    _removed(path)
    with pytest.raises(SqliteFileError, match="removed or replaced"):
        await ledger.handle(request)
    assert not path.exists()
    await ledger.aclose()
