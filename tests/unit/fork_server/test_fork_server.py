"""A forked process is as one that was started from nothing, but for the time that its imports take."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.fork_server import ROOT, ForkedProcess, Process, start
from tests.processes import a_checkout, an_order

ENDS_SECONDS = 60.0


class Starter:
    """Starts processes that each run a statement."""

    def __init__(self, directory: Path) -> None:
        self.output = directory / "output"
        self.errors = directory / "errors"
        self.started: list[Process] = []

    def run(self, statement: str, **env: str) -> Process:
        command = [sys.executable, "-m", "tests.unit.fork_server.statement", statement]
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            process = start(command, env={**os.environ, **env}, stdout=output, stderr=errors)
        self.started.append(process)
        return process

    def printed(self, statement: str, **env: str) -> Any:
        """Return what a statement printed as JSON."""
        assert self.run(f"import json\n{statement}", **env).wait(ENDS_SECONDS) == 0, self.errors.read_text()
        return json.loads(self.output.read_text().splitlines()[0])


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for process in starter.started:
        process.kill()
        process.wait(ENDS_SECONDS)


def test_it_ends_with_its_own_exit_code(starter: Starter) -> None:
    for statement, code in (("pass", 0), ("import sys; sys.exit(3)", 3), ("1 / 0", 1)):
        process = starter.run(statement)
        assert isinstance(process, ForkedProcess)
        assert process.wait(ENDS_SECONDS) == process.poll() == process.returncode == code
    assert "ZeroDivisionError" in starter.errors.read_text()


def test_it_hears_signals_and_its_starter_can_wait(starter: Starter) -> None:
    """SIGTERM ends it where it has no handler, SIGKILL also where SIGSTOP has frozen it."""
    process = starter.run("import time; time.sleep(600)")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    assert process.poll() is None
    process.terminate()
    assert process.wait(ENDS_SECONDS) == -signal.SIGTERM
    process.kill()  # it has ended: nobody else may be hit

    frozen = starter.run("import time; time.sleep(600)")
    frozen.send_signal(signal.SIGSTOP)
    frozen.kill()
    assert frozen.wait(ENDS_SECONDS) == -signal.SIGKILL


def test_it_has_its_own_environment_files_and_one_thread(starter: Starter) -> None:
    found = starter.printed(
        "import os, sys, threading\n"
        "files = sorted(int(name) for name in os.listdir('/dev/fd'))\n"
        "print(json.dumps([os.environ.get('ONLY_HERE'), files[:3], files[4:], threading.active_count(),"
        " sys.stdin.read(), os.getcwd(), sys.path[0]]))",
        ONLY_HERE="yes",
    )
    assert found == ["yes", [0, 1, 2], [], 1, "", str(ROOT), str(ROOT)]
    assert "ONLY_HERE" not in os.environ


def test_no_two_have_the_same_luck(starter: Starter) -> None:
    """Random numbers and ids are not inherited."""
    statement = (
        "import random, uuid, uuid_utils\n"
        "print(json.dumps([random.random(), str(uuid.uuid4()), str(uuid_utils.uuid4())]))"
    )
    first, second = starter.printed(statement), starter.printed(statement)
    assert not set(first) & set(second)


def test_what_it_registered_for_its_end_is_done(starter: Starter) -> None:
    """Exit handlers run, and what is still in a buffer is written."""
    assert starter.run("import atexit; atexit.register(print, 'over'); print('done')").wait(ENDS_SECONDS) == 0
    assert starter.output.read_text() == "done\nover\n"


def test_a_variable_that_the_interpreter_reads_asks_for_a_fresh_process(starter: Starter) -> None:
    process = starter.run("pass", PYTHONHASHSEED="1")
    assert isinstance(process, subprocess.Popen)
    assert process.wait(ENDS_SECONDS) == 0


def test_nothing_outlives_the_one_who_started_it() -> None:
    """However that ended."""
    statement = (
        "import os, sys\n"
        "from tests.fork_server import start\n"
        "command = [sys.executable, '-m', 'tests.unit.fork_server.statement', 'import time; time.sleep(600)']\n"
        "print(start(command, env=os.environ, stdout=sys.stderr, stderr=sys.stderr).pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", statement], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    give_up = time.monotonic() + ENDS_SECONDS
    while _runs(int(ended.stdout)):
        assert time.monotonic() < give_up, "it is still there"
        time.sleep(0.01)  # another process's end can only be asked about


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("database", ["sqlite_url", "postgres_url"])
def test_what_a_service_imports_is_imported_ahead(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """All but its entry and a little: what is missing in `LIBRARIES` costs each start of a process its time."""
    env = {"DATABASE_URL": request.getfixturevalue(database), "SANDBOX_DATABASE": ":memory:"}
    with a_checkout(env, tmp_path / "log", app="tests.unit.fork_server.imported_app:app") as server:
        post = httpx.post(
            f"{server.url}/checkout", json=an_order("ord-1"), trust_env=False, verify=False, timeout=30.0
        )
        assert post.status_code == 201
        imported = httpx.get(f"{server.url}/imported", trust_env=False, verify=False).json()
    assert "app.main" in imported
    assert len(imported) < 10, f"imported only after the fork: {' '.join(imported)}"
