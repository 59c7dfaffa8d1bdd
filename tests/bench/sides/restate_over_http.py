"""Restate over HTTP: a durable service of three steps that do nothing, and real compensations.

As its documentation has it: a single node with its defaults, which sync its log; the service under hypercorn
with the limits that it recommends, a worker for each core. Orders are placed at Restate's own HTTP ingress, under an
idempotency key. It runs in an environment of its own: `python restate_over_http.py --port 9000`, with
`RESTATE_SERVER`, without this project; `/checkout/ready` answers 200 once the service is registered.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import restate  # type: ignore[import-not-found]

SERVER_SECONDS = 60
STOP_SECONDS = 10
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
HYPERCORN = """
h2_max_concurrent_streams = 2147483647
keep_alive_max_requests = 2147483647
keep_alive_timeout = 2147483647
"""
"""As https://docs.restate.dev/develop/python/serving recommends."""

_C = ctypes.CDLL(None)

checkout = restate.Service("checkout")


async def pay(order_id: str) -> dict[str, str]:
    return {"id": f"pay-{order_id}"}


async def refund(payment: dict[str, str]) -> None: ...


async def reserve(order_id: str) -> dict[str, str]:
    return {"id": f"res-{order_id}"}


async def release(reservation: dict[str, str]) -> None: ...


async def ship(order_id: str, refuses: bool) -> dict[str, str]:
    if refuses:
        raise restate.TerminalError("Nothing is delivered there.")
    return {"id": f"shp-{order_id}"}


@checkout.handler()
async def ready(_ctx: restate.Context) -> str:
    """Return that it serves."""
    return "ready"


@checkout.handler()
async def place(ctx: restate.Context, order: dict[str, Any]) -> str:
    """Do all, or undo in reverse what was done."""
    order_id, refuses = order["order_id"], order["shipping_address"]["country"] == "XX"
    compensations: list[tuple[str, Any, dict[str, Any]]] = []
    try:
        payment = await ctx.run_typed("pay", pay, order_id=order_id)
        compensations.append(("refund", refund, {"payment": payment}))
        reservation = await ctx.run_typed("reserve", reserve, order_id=order_id)
        compensations.append(("release", release, {"reservation": reservation}))
        await ctx.run_typed("ship", ship, order_id=order_id, refuses=refuses)
    except restate.TerminalError:
        for name, compensate, given in reversed(compensations):
            await ctx.run_typed(name, compensate, **given)
        return "compensated"
    return "completed"


app = restate.app(services=[checkout])


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    ingress = parser.parse_args().port
    admin, node, handler = _free_ports(3)
    own = {
        "RESTATE_BIND_PORT": str(node),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = folder / "hypercorn.toml"
        config.write_text(f'bind = "127.0.0.1:{handler}"\nworkers = {os.cpu_count()}{HYPERCORN}')
        hypercorn = [sys.executable, "-m", "hypercorn", "--config", str(config), f"{Path(__file__).stem}:app"]
        restate_server = [os.environ["RESTATE_SERVER"], "--base-dir", str(folder / "data")]
        server = stack.enter_context(_running(restate_server, own, folder / "server.log"))
        service = stack.enter_context(_running(hypercorn, {}, folder / "service.log"))
        _register(f"http://127.0.0.1:{admin}/deployments", f"http://127.0.0.1:{handler}", [server, service])
        signal.pause()


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process, and where it writes."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def must_be_up(self) -> None:
        """Raise with the last it wrote, if it has ended."""
        if self.process.poll() is not None:
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"{self.log.stem} ended with {self.process.returncode}: {''.join(last)}")


@contextlib.contextmanager
def _running(command: list[str], env: dict[str, str], log: Path) -> Iterator[Running]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).parent,
            env={**os.environ, **env},
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 (no other thread runs yet)
        )
    try:
        yield Running(process=process, log=log)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers too, which may outlive it
        process.wait()


def _end_with_parent() -> None:
    """Have this process terminated when its parent ends, even by SIGKILL."""
    _C.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _register(deployments: str, uri: str, needed: Sequence[Running]) -> None:
    """Register the service, once both are up."""
    until = time.monotonic() + SERVER_SECONDS
    request = urllib.request.Request(  # noqa: S310 (http, on this machine)
        deployments, json.dumps({"uri": uri}).encode(), {"Content-Type": "application/json"}
    )
    while True:
        for one in needed:
            one.must_be_up()
        try:
            urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        except urllib.error.URLError as error:
            if time.monotonic() > until:
                raise TimeoutError(f"Restate doesn't take the service: {error}") from error
            time.sleep(0.2)
        else:
            return


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


if __name__ == "__main__":
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, lambda *_: sys.exit(1))  # so that what was started is stopped
    main()
