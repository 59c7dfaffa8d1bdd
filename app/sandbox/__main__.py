"""Run one service of the sandbox: `python -m app.sandbox payment --port 9001`."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys

import uvicorn

from app.gateway.port import Participant
from app.sandbox.ledger import Ledger
from app.sandbox.sandbox import Sandbox
from app.sandbox.server import sandbox_app
from app.server import HttpConnection
from app.telemetry.sentences import show_warnings


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the command line, with the environment for what it leaves out; exit with a sentence where it is wrong."""
    env = os.environ
    parser = argparse.ArgumentParser(
        prog="python -m app.sandbox",
        description="One service of the sandbox over HTTP. Each option can be set in the environment.",
    )
    parser.add_argument("service", choices=[str(service) for service in Participant])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001)
    # An empty variable is one that isn't set, as a compose file passes it on.
    parser.add_argument(
        "--database", default=env.get("SANDBOX_DATABASE") or ":memory:", help="SANDBOX_DATABASE"
    )
    parser.add_argument(
        "--memory-sagas",
        type=int,
        default=env.get("SANDBOX_MEMORY_SAGAS") or "10000",
        help="SANDBOX_MEMORY_SAGAS",
    )
    parser.add_argument(
        "--failure-rate",
        type=_share,
        default=env.get("SANDBOX_FAILURE_RATE") or "0",
        help="SANDBOX_FAILURE_RATE",
    )
    parser.add_argument("--seed", type=int, default=env.get("SANDBOX_SEED") or None, help="SANDBOX_SEED")
    parser.add_argument(
        "--latency-seconds",
        type=_seconds,
        default=env.get("SANDBOX_LATENCY_SECONDS") or "0",
        help="SANDBOX_LATENCY_SECONDS",
    )
    parser.add_argument(
        "--late-seconds",
        type=_seconds,
        default=env.get("SANDBOX_LATE_SECONDS") or "2",
        help="SANDBOX_LATE_SECONDS",
    )
    parser.add_argument(
        "--hang-seconds",
        type=_seconds,
        default=env.get("SANDBOX_HANG_SECONDS") or "30",
        help="SANDBOX_HANG_SECONDS",
    )
    return parser.parse_args(argv)


def main() -> None:
    """Serve until a signal stops it."""
    given = arguments()
    show_warnings()
    try:
        ledger = Ledger(
            given.database, services=[Participant(given.service)], remembered_sagas=given.memory_sagas
        )
    except sqlite3.Error as error:
        sys.exit(str(error))
    sandbox = Sandbox(
        ledger,
        failure_rate=given.failure_rate,
        seed=given.seed,
        latency_seconds=given.latency_seconds,
        late_seconds=given.late_seconds,
    )
    app = sandbox_app(Participant(given.service), sandbox, hang_seconds=given.hang_seconds)
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        http=HttpConnection,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return share


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("must be between 0 and 3600")
    return seconds


if __name__ == "__main__":
    main()
