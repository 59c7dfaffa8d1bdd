"""A real PgBouncer in transaction mode for a test run, where the machine has one that is new enough.

Looked for in this order: `TEST_PGBOUNCER` (the path of its binary), then PATH. From 1.21 on it keeps prepared
statements, without which the service refuses it. Where there is none the run says so in its first lines, and
`make pooled` fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST = (1, 21)
START_SECONDS = 20.0
POOL = 6
"""Server connections for each database: fewer than the tests' own, so that they are shared."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What there is of a PgBouncer. `path` is None where there is none that is new enough; `words` say why."""

    path: str | None
    words: str


@cache
def found() -> Found:
    """Look for a PgBouncer that is new enough."""
    given = os.environ.get("TEST_PGBOUNCER", "")
    path = given or shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    wanted = "set TEST_PGBOUNCER to the path of one from 1.21 on"
    if not path:
        return Found(path=None, words=f"there is none: {wanted}")
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError as error:
        return Found(path=None, words=f"{path} can't be run ({error.strerror}): {wanted}")
    version = re.search(r"PgBouncer (\d+)\.(\d+)", said)
    if version is None or tuple(map(int, version.groups())) < OLDEST:
        told = version[0] if version else "no PgBouncer"
        return Found(path=None, words=f"{path} is {told}, which is too old: {wanted}")
    return Found(path=path, words=f"{version[0]} from {path}")


DATABASES = ("sqlite", "postgresql", *(("pooled",) if found().path else ()))
"""What the storage's own tests run on."""


@contextlib.contextmanager
def a_pooler(server_url: str) -> Iterator[str]:
    """Give a URL of a server's databases through a PgBouncer, which is stopped afterwards, and when this process dies."""
    path = found().path
    assert path is not None
    keeper = subprocess.Popen(
        [sys.executable, "-I", __file__, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "POOLED_SERVER": server_url},
        start_new_session=True,  # Ctrl-C is for pytest; the keeper waits for the pipe's end.
    )
    with keeper:
        assert keeper.stdout is not None
        first = keeper.stdout.readline().strip()
        if not first.isdecimal():
            raise RuntimeError(f"PgBouncer did not start:\n{first}\n{keeper.stdout.read()}")
        try:
            parts = urlsplit(server_url)
            user = parts.netloc.rpartition("@")[0]
            yield urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{first}"))
        finally:
            keeper.terminate()


# From here on: the keeper, a process of its own.


def keep(path: str, server_url: str) -> None:
    """Start a PgBouncer before a server, print its port, and stop it when standard input ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="checkout-pgbouncer-") as home:
        configuration, port = Path(home, "pgbouncer.ini"), _free_port()
        configuration.write_text(_configuration(server_url, port))
        if os.geteuid() == 0:
            Path(home).chmod(0o755)
            configuration.chmod(0o644)
        pooler = subprocess.Popen(
            [path, "--quiet", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=sys.stdout,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(port, pooler)
            sys.stdout.write(f"{port}\n")
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            pooler.terminate()
            pooler.wait()


def _configuration(server_url: str, port: int) -> str:
    server = urlsplit(server_url)
    return "\n".join(
        [
            "[databases]",
            f"* = host={server.hostname} port={server.port} user={server.username} password='{server.password}'",
            "[pgbouncer]",
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
            "auth_type = any",
            "pool_mode = transaction",
            f"default_pool_size = {POOL}\nserver_round_robin = 1\nmax_prepared_statements = 200",
            "server_idle_timeout = 1\nlog_connections = 0\nlog_disconnections = 0\nlog_pooler_errors = 0",
            *(["user = nobody"] if os.geteuid() == 0 else []),
            "",
        ]
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, pooler: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if pooler.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("It doesn't listen.")
        time.sleep(0.02)


if __name__ == "__main__":
    if sys.argv[1:]:
        keep(sys.argv[1], os.environ["POOLED_SERVER"])
    elif found().path is None:
        sys.exit(f"There is no PgBouncer to run through: {found().words}.")
