"""A primary and its synchronous standby as plain processes, to be killed, frozen, thawed and promoted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.database.crashing_postgres import _started_again
from tests.chaos.database.keeper import Keeper, a_keeper, say
from tests.postgres import (
    START_SECONDS,
    UNPRIVILEGED,
    NoPostgres,
    _free_port,
    _is_ready,
    _leave,
    _started,
    _stop,
)

STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


@dataclass(frozen=True, kw_only=True)
class ReplicatedPostgres:
    """Both servers' URLs, and `url` with both hosts: a client of it finds the one that takes writes."""

    primary: str
    standby: str
    keeper: Keeper

    @property
    def url(self) -> str:
        """The URL that a service is given in production."""
        first, second = urlsplit(self.primary), urlsplit(self.standby)
        user, _, host = first.netloc.rpartition("@")
        return urlunsplit(first._replace(netloc=f"{user}@{host},{second.netloc.rpartition('@')[2]}"))

    def kill_primary(self) -> None:
        """End the primary at once: no checkpoint, no goodbye to the standby."""
        self.keeper.ask("kill")

    def freeze_primary(self) -> None:
        """Stop every process of the primary where it is (SIGSTOP)."""
        self.keeper.ask("freeze")

    def thaw_primary(self) -> None:
        """Let it go on, as if nothing had happened."""
        self.keeper.ask("thaw")

    def restart_primary(self) -> None:
        """Stop the primary at once and start it again; it recovers from its own log, with or without a standby."""
        self.keeper.ask("restart")

    def freeze_standby(self) -> None:
        """Stop every process of the standby where it is: no commit of the primary is answered any more."""
        self.keeper.ask("freeze standby")

    def thaw_standby(self) -> None:
        """Let it go on."""
        self.keeper.ask("thaw standby")

    def promote_standby(self) -> None:
        """Make the standby a primary; return once it takes writes."""
        self.keeper.ask("promote")


@contextlib.contextmanager
def a_replicated_postgres() -> Iterator[ReplicatedPostgres]:
    """Start both, with `synchronous_standby_names = '*'` on the primary."""
    with a_keeper("tests.chaos.database.replicated_postgres") as keeper:
        primary, standby = keeper.urls
        yield ReplicatedPostgres(primary=primary, standby=standby, keeper=keeper)


# From here on: the keeper, a process of its own.


def keep(binaries: Path) -> None:
    """Start both, print their URLs, do as standard input says, and stop them when that ends."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="checkout-postgres-", ignore_cleanup_errors=True) as home:
        servers: list[subprocess.Popen[bytes]] = []
        try:
            primary, url = _started(binaries, Path(home))
            servers.append(primary)
            directory = Path(home) / "standby"
            standby, standby_url = _followed(primary, url, directory)
            servers.append(standby)
            _wait_for_standby(primary, url)
            say(f"{url} {standby_url}")
            for line in sys.stdin:
                primary = servers[0] = _do(line.strip(), primary, standby, directory)
                say("done")
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for server in servers:
                _signal(server, signal.SIGCONT)
                _stop(server)


def _do(
    word: str, primary: subprocess.Popen[bytes], standby: subprocess.Popen[bytes], data: Path
) -> subprocess.Popen[bytes]:
    """Do it, and return the process that is the primary's afterwards."""
    match word:
        case "kill":
            primary.send_signal(signal.SIGQUIT)
            primary.wait()
        case "freeze":
            _signal(primary, signal.SIGSTOP)
        case "thaw":
            _signal(primary, signal.SIGCONT)
        case "restart":
            primary.send_signal(signal.SIGQUIT)
            primary.wait()
            return _started_again(primary, data.parent)
        case "freeze standby":
            _signal(standby, signal.SIGSTOP)
        case "thaw standby":
            _signal(standby, signal.SIGCONT)
        case "promote":
            _run(standby, "pg_ctl", "promote", "-D", str(data), "-w", "-s")
    return primary


def _followed(primary: subprocess.Popen[bytes], url: str, data: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Copy the primary and run the copy as its standby."""
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(data, *_ids())
    _run(primary, "pg_basebackup", "-D", str(data), "-d", url, "-R", "-X", "stream", "--checkpoint=fast")
    port = _free_port()
    assert isinstance(primary.args, list)
    arguments = [str(argument) for argument in primary.args[3:] if not str(argument).startswith("--port=")]
    with (data.parent / "standby.log").open("wb") as output:
        standby = subprocess.Popen(
            [str(primary.args[0]), "-D", str(data), *arguments, f"--port={port}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=UNPRIVILEGED if os.geteuid() == 0 else None,
            cwd=data.parent,
        )
    give_up = time.monotonic() + START_SECONDS
    while not _is_ready_or_standby(data / "postmaster.pid"):
        if standby.poll() is not None or time.monotonic() > give_up:
            raise NoPostgres((data.parent / "standby.log").read_text(errors="replace"))
        time.sleep(0.01)  # another process's start can only be looked for
    parts = urlsplit(url)
    return standby, urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))


def _is_ready_or_standby(pid_file: Path) -> bool:
    if _is_ready(pid_file):
        return True
    try:
        return pid_file.read_text().splitlines()[7].strip() == "standby"
    except (OSError, IndexError):
        return False


def _wait_for_standby(primary: subprocess.Popen[bytes], url: str) -> None:
    """Make the primary's commits wait for its standby from now on."""
    _run(primary, "psql", url, "-qc", "ALTER SYSTEM SET synchronous_standby_names = '*'")
    _run(primary, "psql", url, "-qc", "SELECT pg_reload_conf()")
    give_up = time.monotonic() + START_SECONDS
    while _run(primary, "psql", url, "-Atqc", STREAMING).strip() != "1":
        if time.monotonic() > give_up:
            raise NoPostgres("The standby does not follow.")
        time.sleep(0.01)  # another process's state can only be asked for


def _run(server: subprocess.Popen[bytes], program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's own programs, from where the server's binaries are, as the server's user."""
    assert isinstance(server.args, list)
    ran = subprocess.run(
        [str(Path(str(server.args[0])).parent / program), *arguments],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        user=UNPRIVILEGED if os.geteuid() == 0 else None,
        cwd="/",
    )
    if ran.returncode:
        raise NoPostgres(f"{program}: {ran.stdout}{ran.stderr}")
    return ran.stdout


def _ids() -> tuple[int, int]:
    import pwd  # noqa: PLC0415 (Unix alone has it, and root)

    entry = pwd.getpwnam(UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def _signal(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the server and all its children, which are in sessions of their own."""
    children = [
        int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _parent_in(stat) == server.pid
    ]
    for pid in (server.pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _parent_in(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


if __name__ == "__main__":
    try:
        keep(Path(sys.argv[1]))
    except NoPostgres as problem:
        sys.exit(str(problem))
