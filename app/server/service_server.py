"""The server behind `python -m app serve`: uvicorn's, except for what the first signal does.

uvicorn stops listening at the first SIGTERM. Here the service drains first: it keeps listening and answers 503 until
its sagas are finished or handed over, and then asks the server to stop. Several workers are run by a parent of them (`supervisor`), each with such a server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import ClassVar

import click
import uvicorn
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE
from uvicorn.main import main as uvicorn_command

from app.server.supervisor import Supervisor
from app.server.worker import Worker

APP = "app.main:app"

_OTHER_APPS = frozenset(
    {
        "app",
        "app_dir",
        "factory",
        "reload",
        "reload_dirs",
        "reload_includes",
        "reload_excludes",
        "reload_delay",
    }
)
_COMMAND = click.Command(
    "checkout serve",
    params=[option for option in uvicorn_command.params if option.name not in _OTHER_APPS],
    help="Serve the API. The options are uvicorn's own; the settings come from the environment.",
)


class ServiceServer(uvicorn.Server):
    """Calls `on_first_signal`, once, where the service has set it; a second signal stops the server at once."""

    running: ClassVar[ServiceServer | None] = None
    """The one of this process, while it runs."""

    def __init__(self, config: uvicorn.Config, worker: Worker | None = None) -> None:
        super().__init__(config)
        self._worker = worker
        self.on_first_signal: Callable[[], None] | None = None
        self._draining = False

    def run(self, *args: object, **kwargs: object) -> None:
        """Serve until a signal or the service stops it."""
        ServiceServer.running = self
        try:
            super().run(*args, **kwargs)  # type: ignore[arg-type]  # uvicorn's own, passed through
        finally:
            ServiceServer.running = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the service and listen, as uvicorn calls it; a worker's parent is told."""
        await super().startup(sockets=sockets)
        if self._worker is not None and self.started:
            self._worker.is_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT, as uvicorn calls it. A terminal's first SIGINT reaches workers too: it is their parent's."""
        if self._worker is not None and sig == signal.SIGINT and not self._draining:
            return
        if self.on_first_signal is not None and not self._draining:
            self._draining = True
            self.on_first_signal()
            return
        self.should_exit = (
            self.should_exit or self._draining
        )  # uvicorn forces an end at a SIGINT that finds it set
        super().handle_exit(sig, frame)


def run(arguments: Sequence[str], *, workers: Callable[[], int] = lambda: 1) -> int:
    """Serve as `serve` does, and return the exit code also for a wrong option, which is said, and after `--help`."""
    try:
        return serve(arguments, workers=workers)
    except click.exceptions.Exit as done:  # --help
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code


def serve(arguments: Sequence[str], *, workers: Callable[[], int] = lambda: 1) -> int:
    """Serve until stopped; return the exit code. `arguments` are uvicorn's own options, as on its command line.

    `workers` returns how many there are where neither `--workers` nor WEB_CONCURRENCY says so. Raise
    `click.ClickException` for an option that can't be used, and `click.exceptions.Exit` after `--help`.
    """
    options = _COMMAND.make_context(_COMMAND.name, list(arguments)).params
    options["log_config"] = options["log_config"] or LOGGING_CONFIG
    options["headers"] = [tuple(header.split(":", 1)) for header in options["headers"]]
    asked = _asked_workers(options.pop("workers"))
    config = uvicorn.Config(APP, workers=1, **options)
    try:
        config.load_app()
        count = asked or workers()
        if count > 1:
            return Supervisor(config, count, _serve_as_worker).run()
        server = ServiceServer(config)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signals again that it has handled
            server.run()
        return 0 if server.started else STARTUP_FAILURE
    finally:
        if config.uds:
            Path(config.uds).unlink(missing_ok=True)


def _serve_as_worker(config: uvicorn.Config, listener: socket.socket, worker: Worker) -> int:
    server = ServiceServer(config, worker)
    server.run(sockets=[listener])
    logging.shutdown()  # which an interpreter does at its end, and a fork doesn't: the last lines are written
    return 0 if server.started else STARTUP_FAILURE


def _asked_workers(option: int | None) -> int | None:
    """Return how many workers are asked for, or None. Raise `click.ClickException` for a number that is none."""
    name, given = "--workers", str(option) if option is not None else ""
    if option is None:
        name, given = "WEB_CONCURRENCY", os.environ.get("WEB_CONCURRENCY", "").strip()
    if not given:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise click.UsageError(f"{name} is {given!r}: give a number of workers, 1 or more.")
    return int(given)
