"""Retention on the whole service and by the command line: what callers and operators then see."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from pydantic import SecretStr, ValidationError
from typer.testing import CliRunner

from app.checkout.redaction import CHECKOUT_REDACTION
from app.cli import app as command_line
from app.operations.retention import Retention, RetentionCounts
from app.saga.ports.clock import SystemClock
from app.settings.settings import Settings
from app.storage import open_storage
from app.storage.retention.retention import SqlRetention
from tests.builders import VirtualClock
from tests.in_process import a_service
from tests.processes import an_order

KEY = {"Idempotency-Key": "key-1"}
STUCK = {"X-Simulate": "shipping.execute=rejected, payment.compensate=not_reversible"}
UNDONE = {"X-Simulate": "shipping.execute=rejected"}


@asynccontextmanager
async def a_client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        database_url=SecretStr(url),
        sandbox_database=":memory:",
        retry_base_seconds=0.01,
        retry_cap_seconds=0.02,
        compensation_max_attempts=2,
    )
    async with a_service(settings) as client:
        yield client


async def leave(url: str, *, days: int, **keep: timedelta) -> RetentionCounts:
    """Let leave what is old in so many days."""
    clock = VirtualClock(SystemClock().now() + timedelta(days=days))
    given: dict[str, Any] = {"keep_data": timedelta(days=90), "keep_sagas": None, **keep}
    async with open_storage(url) as storage:
        retention = Retention(
            SqlRetention(storage.log, CHECKOUT_REDACTION), clock=clock, batch=2, pause_seconds=0, **given
        )
        return await retention.run()


async def test_a_redacted_checkout_still_answers_everywhere(database_url: str) -> None:
    """By id, in the list, on the page and to a repeat of its key, which never begins another."""
    async with a_client(database_url) as client:
        whole = (await client.post("/checkout", json=an_order("ord-1"), headers=KEY)).json()
        undone = (await client.post("/checkout", json=an_order("ord-2"), headers=UNDONE)).json()["saga"]
        stuck = (await client.post("/checkout", json=an_order("ord-3"), headers=STUCK)).json()
        assert await leave(database_url, days=91) == RetentionCounts(redacted=2, deleted=0)

        answer = await client.get(f"/sagas/{whole['id']}")
        left = answer.json()
        assert answer.status_code == 200
        assert left["customer_id"] == "(removed)"
        changed = {name for name in whole if whole[name] != left[name]}
        assert changed <= {"customer_id", "steps"}, "the rest is the skeleton"
        assert [step["status"] for step in left["steps"]] == [step["status"] for step in whole["steps"]]
        assert left["steps"][0]["result"] == whole["steps"][0]["result"]

        after = (await client.get(f"/sagas/{undone['id']}")).json()
        assert after["failure"] == {**undone["failure"], "message": "(removed)"}
        assert (await client.get(f"/sagas/{stuck['id']}")).json() == stuck, "it still needs a person"
        for saga in (whole, undone, stuck):
            page = await client.get(f"/dashboard/sagas/{saga['id']}")
            assert page.status_code == 200
            assert (saga is stuck) == ("cus-7" in page.text)

        again = await client.post("/checkout", json=an_order("ord-1"), headers=KEY)
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
        assert again.json() == left
        other = await client.post("/checkout", json=an_order("ord-1", payment_method="tok_x"), headers=KEY)
        assert other.status_code == 422
        listed = (await client.get("/sagas?status=completed")).json()
        assert [saga["id"] for saga in listed["data"]] == [whole["id"]]


async def test_a_deleted_checkout_is_unknown_and_its_neighbours_are_not(database_url: str) -> None:
    async with a_client(database_url) as client:
        whole = (await client.post("/checkout", json=an_order("ord-1"), headers=KEY)).json()
        stuck = (await client.post("/checkout", json=an_order("ord-2"), headers=STUCK)).json()
        keep = {"keep_data": timedelta(days=2), "keep_sagas": timedelta(days=2)}
        assert await leave(database_url, days=3, **keep) == RetentionCounts(redacted=1, deleted=1)
        assert (await client.get(f"/sagas/{whole['id']}")).status_code == 404
        assert (await client.get(f"/sagas/{stuck['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"keep_data_days": 90, "keep_sagas_days": 89}, "CHECKOUT_KEEP_DATA_DAYS"),
        ({"keep_data_days": 0, "keep_sagas_days": 400}, "CHECKOUT_KEEP_DATA_DAYS"),
        ({"keep_data_days": 1, "keep_sagas_days": 1}, "Idempotency-Key"),
        ({"keep_data_days": -1}, "keep_data_days"),
        ({"retention_batch": 0}, "retention_batch"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, int], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("data", "sagas"), [(90, 0), (90, 90), (0, 0), (1, 2), (2, 2)])
def test_settings_that_fit_are_taken(data: int, sagas: int) -> None:
    assert Settings(keep_data_days=data, keep_sagas_days=sagas).keep_sagas_days == sagas


@pytest.fixture
async def shop(sqlite_url: str, sqlite_file: Path) -> Path:
    """Give a database with one checkout completed, one undone, and one that needs a person."""
    async with a_client(sqlite_url) as client:
        for number, headers in enumerate(({}, UNDONE, STUCK), start=1):
            await client.post("/checkout", json=an_order(f"ord-{number}"), headers=headers)
    return sqlite_file


@pytest.fixture
def sqlite_file(sqlite_url: str) -> Path:
    return Path(sqlite_url.removeprefix("sqlite:///"))


def _customers(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [one for (one,) in connection.execute("SELECT customer_id FROM saga ORDER BY id")]


def _age(file: Path) -> None:
    """Make every saga a year older."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "UPDATE saga SET id = '0170' || substr(id, 5), finished_at = '2022' || substr(finished_at, 5)"
        )
        connection.execute("UPDATE saga_log SET saga_id = '0170' || substr(saga_id, 5)")
        connection.commit()


def test_the_command_redacts_what_is_old_and_a_dry_run_does_not(shop: Path) -> None:
    env = {"DATABASE_URL": f"sqlite:///{shop}", "CHECKOUT_RETENTION_PAUSE_SECONDS": "0"}
    run = CliRunner().invoke
    assert run(command_line, ["retention", "run"], env=env).stdout == "0 redacted, 0 deleted.\n"
    _age(shop)
    told = run(command_line, ["retention", "run", "--dry-run"], env=env)
    assert told.stdout == "2 would be redacted, 0 deleted.\n"
    assert _customers(shop) == ["cus-7"] * 3
    done = run(command_line, ["retention", "run"], env=env)
    assert done.stdout == "2 redacted, 0 deleted.\n", done.output
    assert _customers(shop) == ["(removed)", "(removed)", "cus-7"]
    done = run(command_line, ["retention", "run"], env={**env, "CHECKOUT_KEEP_SAGAS_DAYS": "200"})
    assert done.stdout == "0 redacted, 2 deleted.\n", done.output
    assert _customers(shop) == ["cus-7"]


def test_the_command_forgets_a_customer_and_tells_what_is_left(shop: Path) -> None:
    """With an exit code by which a script knows that it isn't over."""
    env = {"DATABASE_URL": f"sqlite:///{shop}"}
    run = CliRunner().invoke
    nobody = run(command_line, ["retention", "forget", "--customer", "cus-8"], env=env)
    assert (nobody.exit_code, nobody.stdout) == (0, "0 redacted.\n")
    done = run(command_line, ["retention", "forget", "--customer", "cus-7"], env=env)
    assert (done.exit_code, done.stdout) == (1, "2 redacted.\n")
    assert "keeps its data, as it needs attention; use `sagas retry`" in done.stderr
    assert "These are not finished and still need their data: 1 needs_attention." in done.stderr
    assert _customers(shop) == ["(removed)", "(removed)", "cus-7"]
    away = run(command_line, ["retention", "run"], env={"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"})
    assert away.exit_code == 3


async def test_the_running_service_lets_them_leave_and_counts_them(
    shop: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, while it serves."""
    _age(shop)
    monkeypatch.setattr("app.operations.retention.POLL_SECONDS", 0.05)
    async with a_client(sqlite_url) as client, asyncio.timeout(60):
        while "checkout_sagas_redacted_total 2.0" not in (await client.get("/metrics")).text:  # noqa: ASYNC110 (only asking tells)
            await asyncio.sleep(0.05)
        assert "checkout_sagas_deleted_total 0.0" in (await client.get("/metrics")).text
    assert _customers(shop) == ["(removed)", "(removed)", "cus-7"]
