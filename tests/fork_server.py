"""Processes that start at once: forked from one that has imported all that the service imports.

    test ──module, arguments, environment, files──▶ fork server ──fork──▶ process: `python -m module arguments`
         ◀──pid, then exit code───────────────────      │
         the connection's end, however it comes, tells the server to kill what is left

A fresh service spends two CPU-seconds on imports before it listens; a forked one has them. Everything else happens
in the new process: it reads its environment and settings, configures its logs, opens its event loop and database.
Only tests fork: benchmarks and `make chaos` start every process from nothing, and with `TEST_FRESH_PROCESSES=1` so do
the tests. A test that shows something of the start itself asks for a fresh process.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    "aiosqlite",
    "alembic.command",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "standardwebhooks",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What is imported ahead besides `app`; most of it the service imports by name, when it needs it."""
READ_SETTINGS = ("app.main", "app.telemetry.traces")
"""What isn't imported ahead: it reads the environment, or brings a library that does."""

_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OTEL_PYTHON_", "PROMETHEUS_")
"""Variables that the interpreter or a library reads once: a process with others than ours starts from nothing."""
_ENDED = "The fork server has ended; standard error has its reason."
_PID = struct.Struct("!q")
_CODE = struct.Struct("!q")


class ForkedProcess:
    """A process of the fork server, with the interface of `subprocess.Popen` as far as tests use it."""

    def __init__(self, args: Sequence[str], channel: socket.socket) -> None:
        self.args = args
        self.returncode: int | None = None
        self.pid: int = _PID.unpack(_received(channel, _PID.size))[0]
        self._channel = channel
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with self._lock:
            return self._asked(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raise `subprocess.TimeoutExpired` after `timeout` seconds."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:  # in short turns: another thread may poll meanwhile
            left = 0.1 if give_up is None else min(0.1, give_up - time.monotonic())
            with self._lock:
                code = self._asked(max(0.0, left))
            if code is not None:
                return code
            if timeout is not None and left <= 0:
                raise subprocess.TimeoutExpired(list(self.args), timeout)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _asked(self, seconds: float) -> int | None:
        if self.returncode is None and _is_readable(self._channel, seconds):
            self.returncode = _CODE.unpack(_received(self._channel, _CODE.size))[0]
            self._channel.close()
        return self.returncode


Process = subprocess.Popen[bytes] | ForkedProcess


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    cwd: Path = ROOT,
    fresh: bool = False,
) -> Process:
    """Start a process: forked where its command is `python -m module …` in this repository, else `fresh`.

    A fresh one starts from nothing, as in production.
    """
    if fresh or not _can_be_forked(command, env, cwd):
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
    return _server().start(command, env, stdout.fileno(), stderr.fileno())


def _can_be_forked(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> bool:
    return (
        list(command[:2]) == [sys.executable, "-m"]
        and cwd == ROOT
        and "PYTEST_VERSION" in os.environ
        and "TEST_FRESH_PROCESSES" not in os.environ
        and _read_at_start(env) == _read_at_start(os.environ)
    )


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if name.startswith(_READ_AT_START) and name != "PYTHONIOENCODING"
    }


class _ForkServer:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server"],
                cwd=ROOT,
                stdin=theirs.fileno(),
                start_new_session=True,  # Ctrl-C is for pytest.
            )

    def start(self, command: Sequence[str], env: Mapping[str, str], *files: int) -> ForkedProcess:
        ours, theirs = socket.socketpair()
        with self._lock, theirs, _or_say_that_it_ended():
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
        request = json.dumps({"module": command[2], "arguments": command[3:], "env": dict(env)})
        with _or_say_that_it_ended():
            socket.send_fds(ours, [b"."], files)
            ours.sendall(request.encode() + b"\n")
            return ForkedProcess(command, ours)

    def close(self) -> None:
        """Let it kill what is left, and end."""
        self._control.close()
        self._process.wait()


_servers: dict[int, _ForkServer] = {}
_starting = threading.Lock()


def _server() -> _ForkServer:
    """Return this process's fork server, which is started at the first need; a child of this process has its own."""
    with _starting:
        if (server := _servers.get(os.getpid())) is None:
            server = _servers[os.getpid()] = _ForkServer()
            atexit.register(server.close)
        return server


@contextlib.contextmanager
def _or_say_that_it_ended() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, ConnectionResetError):
        raise ChildProcessError(_ENDED) from None


def _received(channel: socket.socket, size: int) -> bytes:
    came = b""
    while len(came) < size:
        if not (some := channel.recv(size - len(came))):
            raise ChildProcessError(_ENDED)
        came += some
    return came


def _is_readable(channel: socket.socket, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        return bool(selector.select(seconds))


# From here on: the fork server, a process of its own.


def _serve(control: socket.socket) -> tuple[list[int], dict[str, Any]]:
    """Fork a process at each request. Return in the forked one, with its files and request; never in the server."""
    running: dict[int, socket.socket] = {}
    woken, waking = socket.socketpair()
    waking.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if woken in ready:
            woken.recv(4096)
            _report_ended(running)
        if control not in ready:
            continue
        _, numbers, *_ = socket.recv_fds(control, 1, 1)
        if not numbers:
            _leave(running)
        channel = socket.socket(fileno=numbers[0])
        files, request = _request_on(channel)
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            selector.close()
            for one in (woken, waking, control, channel, *running.values()):
                one.close()
            return files, request
        for file in files:
            os.close(file)
        running[pid] = channel
        _send(channel, _PID.pack(pid))


def _request_on(channel: socket.socket) -> tuple[list[int], dict[str, Any]]:
    _, files, *_ = socket.recv_fds(channel, 1, 2)
    with channel.makefile("rb") as lines:
        request: dict[str, Any] = json.loads(lines.readline())
    return files, request


def _report_ended(running: dict[int, socket.socket]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            with running.pop(pid) as channel:
                _send(channel, _CODE.pack(os.waitstatus_to_exitcode(status)))


def _send(channel: socket.socket, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it any more
        channel.sendall(data)


def _leave(running: Mapping[int, socket.socket]) -> NoReturn:
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    sys.exit(0)


# From here on: the forked process, until it is what it was started for.


def _use_files(output: int, errors: int) -> None:
    """Have nothing to read, and write to these files, as a process does whose starter gave it these."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for file, number in ((nothing, 0), (output, 1), (errors, 2)):
        if file != number:
            os.dup2(file, number)
            os.close(file)
        os.set_inheritable(number, True)
    encoding = os.environ.get("PYTHONIOENCODING") or sys.stdout.encoding
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding, "backslashreplace", closefd=False)  # noqa: SIM115


def _become(output: int, errors: int, module: str, arguments: Sequence[str], env: Mapping[str, str]) -> None:
    """Run a module as `python -m` does; return, or raise, where it ends."""
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    _use_files(output, errors)
    sys.argv = [module, *arguments]
    run = f"{module}.__main__" if hasattr(sys.modules.get(module), "__path__") else module
    sys.modules.pop(run, None)  # or it would be there twice
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import what the service imports, then fork at each request on standard input, until that ends."""
    for name in (*LIBRARIES, *_modules_of("app")):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that a forked process's collector leaves these pages shared
    native = Path("/proc/self/task")
    if (len(list(native.iterdir())) if native.exists() else threading.active_count()) > 1:
        sys.exit("An import has started a thread; a forked process would lack it.")
    (output, errors), request = _serve(socket.socket(fileno=0))
    _become(output, errors, **request)


def _modules_of(package: str) -> Iterator[str]:
    found = importlib.import_module(package)
    for one in pkgutil.walk_packages(found.__path__, f"{package}."):
        if one.name not in READ_SETTINGS and not one.name.endswith("__main__"):
            yield one.name


if __name__ == "__main__":
    main()
