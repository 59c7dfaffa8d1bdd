"""The server behind `python -m app serve`: uvicorn's, except for what the first signal does.

uvicorn stops listening at the first SIGTERM. Here the service drains first: it keeps listening and answers 503 until
its sagas are finished or handed over, and then asks the server to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import ClassVar

import click
import uvicorn
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE
from uvicorn.main import main as uvicorn_command

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

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.on_first_signal: Callable[[], None] | None = None
        self._draining = False

    def run(self, *args: object, **kwargs: object) -> None:
        """Serve until a signal or the service stops it."""
        ServiceServer.running = self
        try:
            super().run(*args, **kwargs)  # type: ignore[arg-type]  # uvicorn's own, passed through
        finally:
            ServiceServer.running = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT, as uvicorn calls it."""
        if self.on_first_signal is not None and not self._draining:
            self._draining = True
            self.on_first_signal()
            return
        self.should_exit = (
            self.should_exit or self._draining
        )  # uvicorn forces an end at a SIGINT that finds it set
        super().handle_exit(sig, frame)


def run(arguments: Sequence[str]) -> int:
    """Serve as `serve` does, and return the exit code also for a wrong option, which is said, and after `--help`."""
    try:
        return serve(arguments)
    except click.exceptions.Exit as done:  # --help
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code


def serve(arguments: Sequence[str]) -> int:
    """Serve until stopped; return the exit code. `arguments` are uvicorn's own options, as on its command line.

    Raise `click.ClickException` for an option that uvicorn doesn't know, and `click.exceptions.Exit` after `--help`. With more than one worker uvicorn's own
    supervisor runs them, each with uvicorn's own server.
    """
    options = _COMMAND.make_context(_COMMAND.name, list(arguments)).params
    options["log_config"] = options["log_config"] or LOGGING_CONFIG
    options["headers"] = [tuple(header.split(":", 1)) for header in options["headers"]]
    config = uvicorn.Config(APP, **options)
    if config.workers > 1:
        uvicorn.run(APP, **options)
        return 0
    config.load_app()
    server = ServiceServer(config)
    try:
        server.run()
    except KeyboardInterrupt:
        pass  # uvicorn raises the signals again that it has handled
    finally:
        if config.uds:
            Path(config.uds).unlink(missing_ok=True)
    return 0 if server.started else STARTUP_FAILURE
