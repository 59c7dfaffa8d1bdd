"""The service and the sandbox's services as real processes on loopback, for tests that kill them.

A client that asks them verifies nothing: there is no TLS, and to load the certificates costs 28 ms of CPU each time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx

from tests.fork_server import Process, start

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 150.0
ENDED_SECONDS = 150.0
SERVICES = ("payment", "inventory", "shipping")
ADDRESS = {
    "name": "Ada L.",
    "line1": "1 Main St",
    "city": "Paris",
    "postal_code": "75001",
    "country": "FR",
}
PATIENT = {"CHECKOUT_STEP_TIMEOUT_SECONDS": "20"}
"""What a checkout gets unless its test says otherwise: on a busy machine a service may answer after the usual five."""
_OURS = (
    "CHECKOUT_",
    "SANDBOX_",
    "DATABASE_URL",
    "PAYMENT_URL",
    "INVENTORY_URL",
    "SHIPPING_URL",
)


@dataclass(kw_only=True)
class Running:
    """A server's process and where it listens."""

    process: Process
    url: str
    log: Path

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    port: int,
    env: Mapping[str, str],
    log: Path,
    ready: str,
    cwd: Path = ROOT,
    fresh: bool = False,
) -> Iterator[Running]:
    """Run a server in `cwd` until the block ends; enter it once `ready` answers 200.

    It is forked from one that has imported everything, unless it is to be `fresh`, as in production.
    """
    with log.open("ab") as output:
        process = start(command, env={**_clean(), **env}, stdout=output, stderr=output, cwd=cwd, fresh=fresh)
    server = Running(process=process, url=f"http://127.0.0.1:{port}", log=log)
    try:
        _wait_until_ready(server, ready)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ended(
    command: Sequence[str], *, env: Mapping[str, str], fresh: bool = False, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which is soon, forked or `fresh`; return its exit code and what it wrote."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(command, env={**_clean(), **env}, stdout=output, stderr=errors, fresh=fresh)
        try:
            code = process.wait(ENDED_SECONDS)
        finally:
            process.kill()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(
            command, code, stdout=output.read().decode(encoding), stderr=errors.read().decode(encoding)
        )


def _clean() -> dict[str, str]:
    """Return this process's environment without the service's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


def _wait_until_ready(server: Running, ready: str) -> None:
    give_up = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=2.0, trust_env=False, verify=False) as client:
        while time.monotonic() < give_up and server.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(server.url + ready).status_code == 200:
                    return
            time.sleep(0.02)  # another process's start can only be asked about
    raise AssertionError(f"{server.process.args!r} did not become ready:\n{server.log.read_text()[-4000:]}")


@contextlib.contextmanager
def a_checkout(
    env: Mapping[str, str],
    log: Path,
    *,
    port: int | None = None,
    app: str | None = None,
    options: Sequence[str] = (),
    fresh: bool = False,
) -> Iterator[Running]:
    """Run the checkout service by `python -m app serve`, with `options`; with an `app`, run that by uvicorn's command.

    It has one worker unless the options say otherwise: what ends this process has to end the service.
    """
    port = port or free_port()
    if app is None and "--workers" not in options:
        options = ("--workers", "1", *options)
    command = [
        sys.executable,
        "-m",
        *(("app", "serve") if app is None else ("uvicorn", app)),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        *options,
    ]
    with running(command, port=port, env={**PATIENT, **env}, log=log, ready="/readyz", fresh=fresh) as server:
        yield server


@contextlib.contextmanager
def the_services(directory: Path, env: Mapping[str, str] | None = None) -> Iterator[dict[str, Running]]:
    """Run the sandbox's three services, each with its own books; give them by name."""

    def a_service(name: str) -> contextlib.AbstractContextManager[Running]:
        port = free_port()
        books = {"SANDBOX_DATABASE": str(directory / f"{name}.db")}
        return running(
            [sys.executable, "-m", "app.sandbox", name, "--port", str(port)],
            port=port,
            env={**books, **(env or {})},
            log=directory / f"{name}.log",
            ready="/livez",
        )

    with together(*map(a_service, SERVICES)) as servers:
        yield dict(zip(SERVICES, servers, strict=True))


@contextlib.contextmanager
def together(*servers: contextlib.AbstractContextManager[Running]) -> Iterator[list[Running]]:
    """Run servers side by side, started at the same time."""
    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(len(servers)) as pool:
            entered = list(pool.map(stack.enter_context, servers))
        yield entered


def urls_of(services: Mapping[str, Running]) -> dict[str, str]:
    """Return the environment that points a checkout at these services."""
    return {f"{name.upper()}_URL": server.url for name, server in services.items()}


def an_order(order_id: str, **members: object) -> dict[str, object]:
    """Return a body for POST /checkout that succeeds unless told otherwise."""
    return {
        "order_id": order_id,
        "customer_id": "cus-7",
        "currency": "EUR",
        "items": [{"sku": "TSHIRT-M", "quantity": 2, "unit_price": 1999}],
        "payment_method": "tok_visa",
        "shipping_address": ADDRESS,
        **members,
    }
