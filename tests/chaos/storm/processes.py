"""The processes of a chaos run: replicas and services that can be killed, stopped, woken and started again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.processes import Running, running

START_SECONDS = 120.0


@dataclass(kw_only=True)
class ServerProcess:
    """One replica or service; started again it has the same port, log file and books.

    `env` gives the environment of its n-th start. `on_change` hears of every change of `up`, with
    which a process counts that runs and was ready once.
    """

    name: str
    command: tuple[str, ...]
    ready: str
    port: int
    log: Path
    env: Callable[[int], Mapping[str, str]]
    on_change: Callable[[], None]
    up: bool = False
    starts: int = 0

    def __post_init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._server: Running | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.process.pid

    async def start(self) -> None:
        """Return once it is ready. As a supervisor does, start it again where it can't begin yet."""
        give_up = time.monotonic() + START_SECONDS
        while True:
            self.starts += 1
            try:
                self._server = await asyncio.to_thread(self._started)
            except AssertionError:  # the database is unavailable, or the port is held for a moment
                if time.monotonic() > give_up:
                    raise
            else:
                self._is(up=True)
                return

    def _started(self) -> Running:
        # `running` would leave it to the block's end to stop a process that isn't ready.
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(
                running(
                    self.command, port=self.port, env=self.env(self.starts), log=self.log, ready=self.ready
                )
            )
            self._held = stack.pop_all()
        return server

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._server is not None
        self._server.kill()
        self._is(up=False)

    def stop(self) -> None:
        """Freeze it where it is, whatever it holds."""
        self._signal(signal.SIGSTOP)
        self._is(up=False)

    def wake(self) -> None:
        """Let it continue as if nothing had happened: a zombie."""
        self._signal(signal.SIGCONT)
        self._is(up=True)

    def close(self) -> None:
        """Throw it away."""
        if self._server is not None:
            self._server.kill()  # SIGKILL reaches a stopped process too
        self._held.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.process.send_signal(number)

    def _is(self, *, up: bool) -> None:
        self.up = up
        self.on_change()


def a_port(rng: random.Random) -> int:
    """Return a port that is free and that no outgoing connection is given: it stays free between two starts."""
    while True:
        port = rng.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def replica_process(
    name: str, env: Mapping[str, str], directory: Path, port: int, on_change: Callable[[], None]
) -> ServerProcess:
    """Return a checkout service, not started."""
    return ServerProcess(
        name=name,
        command=(sys.executable, *f"-m uvicorn app.main:app --host 127.0.0.1 --port {port}".split()),
        ready="/readyz",
        port=port,
        log=directory / f"{name}.log",
        env=lambda _start: env,
        on_change=on_change,
    )


def service_process(
    name: str, env: Mapping[str, str], directory: Path, port: int, seed: int
) -> ServerProcess:
    """Return one of the sandbox's services, not started. Each start has its own random faults."""
    books = {"SANDBOX_DATABASE": str(directory / f"{name}.db")}
    return ServerProcess(
        name=name,
        command=(sys.executable, *f"-m app.sandbox {name} --port {port}".split()),
        ready="/livez",
        port=port,
        log=directory / f"{name}.log",
        env=lambda start: {**env, **books, "SANDBOX_SEED": str(seed * 1000 + start)},
        on_change=lambda: None,
    )
