"""A start that can't be: one sentence that an operator can act on, and an exit code for what supervises it.

The first command of each list is a fresh process, as an operator's is; the others are forked (`tests/fork_server.py`).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2 as httpx
import pytest
from pydantic import SecretStr

from app.api.middleware.startup import StartFailed
from app.bootstrap.service import open_service
from app.bootstrap.start_failures import start_failures
from app.settings.settings import Settings
from tests.processes import a_checkout, an_order, ended, free_port

SECRET = "sEcr3t"


async def the_sentence(url: str, **members: Any) -> str:
    """Return what a service that can't start says."""
    members.setdefault("sandbox_database", ":memory:")
    settings = Settings(database_url=SecretStr(url), **members)
    with pytest.raises(StartFailed) as caught, start_failures(settings):
        async with open_service(settings):
            pytest.fail("it started")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert SECRET not in sentence
    return sentence


def _changed(url: str, *, user: str | None = None, database: str | None = None, query: str = "") -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = parts.netloc if user is None else f"{user}@{host}"
    path = parts.path if database is None else f"/{database}"
    return urlunsplit(parts._replace(netloc=netloc, path=path, query=query))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda url: _changed(url, user=f"checkout:{SECRET}"), "user and the password in DATABASE_URL"),
        (lambda url: _changed(url, user=f"nobody:{SECRET}"), "user and the password in DATABASE_URL"),
        (lambda url: _changed(url, database="not_there"), '"not_there" does not exist'),
        (lambda url: _changed(url, query="sslmode=require"), "offers no TLS"),
        (
            lambda url: _changed(url, query="sslmode=verify-ca&sslrootcert=/not/there.pem"),
            "sslrootcert (/not/there.pem) can't be read",
        ),
        (lambda _: f"postgresql://checkout:{SECRET}@127.0.0.1:1/x", "127.0.0.1:1 can't be reached"),
        (lambda _: f"postgresql://checkout:{SECRET}@not-there.invalid/x", "The name of PostgreSQL at"),
    ],
)
async def test_a_postgresql_that_cannot_be_used(
    wrong: Callable[[str], str], words: str, postgres_url: str
) -> None:
    """Its own words, and what to look at."""
    assert words in await the_sentence(wrong(postgres_url))


async def test_a_postgresql_without_a_schema(empty_postgres_url: str) -> None:
    assert "run `make migrate`" in await the_sentence(empty_postgres_url)


async def test_a_sqlite_file_that_cannot_be_used(tmp_path: Path) -> None:
    """The path is named, and what is wrong with it."""
    other = tmp_path / "other"
    other.write_text("Dear diary, nothing in here is SQLite's." * 50)
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "not" / "there.db", "doesn't exist"),
        (other / "x.db", "isn't a folder"),
        (other, "a file of another kind"),
    ):
        sentence = await the_sentence(f"sqlite:///{path}")
        assert str(path) in sentence
        assert words in sentence
    absent = await the_sentence(f"sqlite:///{tmp_path}/absent.db", auto_migrate="false")
    assert "There is no SQLite file" in absent
    assert not (tmp_path / "absent.db").exists()


async def test_the_sandboxs_file_cannot_be_used(sqlite_url: str, tmp_path: Path) -> None:
    sentence = await the_sentence(sqlite_url, sandbox_database=str(tmp_path / "not" / "there.db"))
    assert str(tmp_path / "not" / "there.db") in sentence


async def test_traces_that_are_wanted_and_cannot_be_sent(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "app.telemetry.traces", None)
    assert "CHECKOUT_TRACES=false" in await the_sentence(sqlite_url, traces="true")


def start(*command: str, fresh: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which is soon."""
    return ended([sys.executable, "-m", *command], env=env, fresh=fresh)


@pytest.mark.parametrize(
    "command",
    [
        ("uvicorn", "app.main:app"),
        ("app", "serve"),
        ("app", "doctor"),
        ("app", "migrate"),
        ("app", "keys", "list"),
        ("app", "retention", "run"),
        ("app", "demo"),
        ("alembic", "upgrade", "head"),
    ],
)
def test_wrong_settings_end_every_command_with_their_lines(command: tuple[str, ...]) -> None:
    """Exit code 2: another start with the same settings can't do better."""
    done = start(
        *command,
        fresh=command[0] == "uvicorn",
        DATABASE_URL=f"postgresql://u:{SECRET}#x@h/d",
        CHECKOUT_STEP_TIMEOUT_SECONDS="5s",
    )
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("DATABASE_URL has an @ behind its host")
    assert second.startswith("CHECKOUT_STEP_TIMEOUT_SECONDS isn't a number")
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [("app", "migrate"), ("app", "keys", "list"), ("app", "demo"), ("alembic", "upgrade", "head")],
)
def test_a_database_that_is_away_ends_every_command_with_a_sentence(command: tuple[str, ...]) -> None:
    """Exit code 3: another start may do better."""
    fresh = command == ("app", "migrate")
    done = start(*command, fresh=fresh, DATABASE_URL=f"postgresql://u:{SECRET}@127.0.0.1:1/d")
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("PostgreSQL at 127.0.0.1:1 can't be reached")
    assert len(done.stderr.splitlines()) == 1


def test_the_service_logs_the_sentence_and_ends_with_3(tmp_path: Path) -> None:
    """As one line of its log, without a traceback."""
    done = start(
        "uvicorn", "app.main:app", "--port", str(free_port()), DATABASE_URL=f"sqlite:///{tmp_path}/no/x.db"
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    (said,) = [one["event"] for one in lines if str(tmp_path) in one["event"]]
    assert said.startswith("The folder of the SQLite file ")


def test_a_collector_that_the_platform_names_does_not_keep_the_service_from_starting(tmp_path: Path) -> None:
    """Here the exporter isn't installed; the log says so once, and the doctor too."""
    done = start(
        "app",
        "demo",
        DATABASE_URL=f"sqlite:///{tmp_path}/x.db",
        SANDBOX_DATABASE=":memory:",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no traces are sent") == 1


def test_the_doctor_makes_nothing(tmp_path: Path) -> None:
    done = start(
        "app",
        "doctor",
        DATABASE_URL=f"sqlite:///{tmp_path}/x.db",
        SANDBOX_DATABASE=f"{tmp_path}/s.db",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        COLUMNS="300",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "There is no file" in done.stdout
    assert "Traces need the extra" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("app", [None, "app.main:app"], ids=["serve", "uvicorn"])
def test_a_second_ctrl_c_ends_a_drain_without_an_error(
    app: str | None, tmp_path: Path, sqlite_url: str
) -> None:
    """The first waits for a saga that takes longer than anybody wants to."""
    env = {"DATABASE_URL": sqlite_url, "SANDBOX_DATABASE": ":memory:", "SANDBOX_LATENCY_SECONDS": "60"}
    with a_checkout(env, tmp_path / "log", app=app) as server:
        taken = httpx.post(
            f"{server.url}/checkout",
            json=an_order("o-1"),
            headers={"Prefer": "respond-async"},
            trust_env=False,
            verify=False,
            timeout=60,
        )
        assert taken.status_code == 202
        server.process.send_signal(signal.SIGINT)
        give_up = time.monotonic() + 60
        while httpx.get(f"{server.url}/readyz", trust_env=False, verify=False, timeout=60).is_success:
            assert time.monotonic() < give_up, "it doesn't drain"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=60) == 0


def test_a_command_warns_of_a_settings_old_name(tmp_path: Path) -> None:
    """A migration job may be the only place that sets it."""
    done = start(
        "app", "migrate", DATABASE_URL=f"sqlite:///{tmp_path}/x.db", CHECKOUT_MIGRATE_PATIENCE_SECONDS="3"
    )
    assert done.returncode == 0
    assert "CHECKOUT_MIGRATE_TIMEOUT_SECONDS" in done.stderr
