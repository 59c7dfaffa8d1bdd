"""Restate doing the same: a durable service of three steps that do nothing, and real compensations.

As its documentation has it: a single node with its defaults, which sync its log; the service under hypercorn
with the limits that it recommends, a worker for each core; each order asked for over Restate's HTTP ingress
under an idempotency key, as there is no way without. It runs in an environment of its own:
`python restate_peer.py`, without this project.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import restate  # type: ignore[import-not-found]
from clock import asked, tell  # type: ignore[import-not-found]  # beside this file, as the peer runs it

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
async def place(ctx: restate.Context, order: dict[str, Any]) -> str:
    """Do all, or undo in reverse what was done."""
    order_id = order["order_id"]
    compensations: list[tuple[str, Any, dict[str, Any]]] = []
    try:
        payment = await ctx.run_typed("pay", pay, order_id=order_id)
        compensations.append(("refund", refund, {"payment": payment}))
        reservation = await ctx.run_typed("reserve", reserve, order_id=order_id)
        compensations.append(("release", release, {"reservation": reservation}))
        await ctx.run_typed("ship", ship, order_id=order_id, refuses=order["refuses"])
    except restate.TerminalError:
        for name, compensate, given in reversed(compensations):
            await ctx.run_typed(name, compensate, **given)
        return "compensated"
    return "completed"


app = restate.app(services=[checkout])


async def main() -> None:
    """Measure whole checkouts."""
    given = asked()
    refuses = given.outcome == "compensated"
    ingress, admin, node, handler = _free_ports(4)
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
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            uri = {"uri": f"http://127.0.0.1:{handler}"}
            await _registered(session, f"http://127.0.0.1:{admin}/deployments", uri, [server, service])
            place_url = f"http://127.0.0.1:{ingress}/checkout/place"

            async def one() -> None:
                order_id = str(uuid.uuid4())
                order = {"order_id": order_id, "refuses": refuses}
                async with session.post(
                    place_url, json=order, headers={"Idempotency-Key": order_id}
                ) as answer:
                    assert await answer.json() == given.outcome, await answer.text()

            await tell(
                given.clients, given.seconds, one, processes=[*_family(server.pid), *_family(service.pid)]
            )


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


def _family(pid: int) -> list[int]:
    """Return a process and all below it: hypercorn's workers are its children."""
    family = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread may end at any time
            for child in children.read_text().split():
                family += _family(int(child))
    return family


async def _registered(
    session: aiohttp.ClientSession, url: str, body: dict[str, str], needed: Sequence[Running]
) -> None:
    """Register the service, once both are up."""
    until = time.monotonic() + SERVER_SECONDS
    while True:
        for one in needed:
            one.must_be_up()
        try:
            async with session.post(url, json=body) as answer:
                if answer.ok:
                    return
                told = await answer.text()
        except aiohttp.ClientError as error:
            told = str(error)
        if time.monotonic() > until:
            raise TimeoutError(f"Restate doesn't take the service: {told}")
        await asyncio.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


if __name__ == "__main__":
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, lambda *_: sys.exit(1))  # so that what was started is stopped
    asyncio.run(main())
