"""A PostgreSQL of a chaos run's own, which it may stop as a power cut would and start again on the same data."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.database.keeper import Keeper, a_keeper, say
from tests.postgres import (
    START_SECONDS,
    UNPRIVILEGED,
    NoPostgres,
    _is_ready,
    _leave,
    _started,
    _stop,
)


class CrashingPostgres:
    """A server at `url`. Both calls block until what they ask for has happened."""

    def __init__(self, keeper: Keeper) -> None:
        (self.url,) = keeper.urls
        self._keeper = keeper

    def stop(self) -> None:
        """Stop it in immediate mode: no checkpoint, no goodbye; every connection breaks."""
        self._keeper.ask("stop")

    def start(self) -> None:
        """Start it again; it recovers from its write-ahead log."""
        self._keeper.ask("start")


@contextlib.contextmanager
def a_crashing_postgres() -> Iterator[CrashingPostgres]:
    """Start a server of one's own."""
    with a_keeper("tests.chaos.database.crashing_postgres") as keeper:
        yield CrashingPostgres(keeper)


# From here on: the keeper, a process of its own.


def keep(binaries: Path) -> None:
    """Start a server, print its URL, do as standard input says, and stop it when that ends."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="checkout-chaos-", ignore_cleanup_errors=True) as home:
        server: subprocess.Popen[bytes] | None = None
        try:
            server, url = _started(binaries, Path(home))
            say(url)
            for line in sys.stdin:
                if line.strip() == "stop":
                    server.send_signal(signal.SIGQUIT)
                    server.wait()
                    say("done")
                else:
                    server = _started_again(server, Path(home))
                    say("done")
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if server is not None:
                _stop(server)


def _started_again(stopped: subprocess.Popen[bytes], home: Path) -> subprocess.Popen[bytes]:
    """Run the same command on the same data, also where another's connection holds the port for a moment."""
    give_up = time.monotonic() + START_SECONDS
    pid_file, log = home / "data" / "postmaster.pid", home / "log"
    while time.monotonic() < give_up:
        with log.open("ab") as output:
            server = subprocess.Popen(
                stopped.args,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=UNPRIVILEGED if os.geteuid() == 0 else None,
                cwd=home,
            )
        while server.poll() is None and time.monotonic() < give_up:
            if _is_ready(pid_file) and pid_file.read_text().splitlines()[0] == str(server.pid):
                return server
            time.sleep(0.01)  # another process's start can only be looked for
    raise NoPostgres(log.read_text(errors="replace")[-4000:])


if __name__ == "__main__":
    try:
        keep(Path(sys.argv[1]))
    except NoPostgres as problem:
        sys.exit(str(problem))
