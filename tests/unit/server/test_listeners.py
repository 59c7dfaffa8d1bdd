"""One port, several sockets."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import uvicorn

from app.server.listeners import Listeners
from tests.processes import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all share one socket")


async def _no_app(*_: object) -> None: ...


def a_config(port: int = 0) -> uvicorn.Config:
    return uvicorn.Config(_no_app, port=port, log_config=None)


def test_each_workers_socket_gets_its_share_of_connections_on_one_port() -> None:
    """Also one that is opened later, in a dead worker's place: it isn't left without clients."""
    listeners = Listeners(a_config())
    first, second = listeners.open(), listeners.open()
    port = first.getsockname()[1]
    for one in (first, second):
        one.listen(256)
    listeners.close(second)
    second = listeners.open()
    second.listen(256)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(128)]
    try:
        got = [_accepted(one) for one in (first, second)]
        assert sum(got) == 128
        # By the kernel's hash, 64 each on average; so few are seen once in a hundred million runs.
        assert min(got) > 32
    finally:
        for one in (first, second, *clients):
            one.close()
        listeners.release()


def _accepted(one: socket.socket) -> int:
    one.setblocking(False)
    number = 0
    while True:
        try:
            one.accept()[0].close()
        except BlockingIOError:
            return number
        number += 1


def test_a_port_that_another_such_server_has_is_refused() -> None:
    """The kernel would share it between two servers of one user: half of the clients would find the wrong one."""
    listeners = Listeners(a_config())
    taken = listeners.open()
    taken.listen()
    program = f"import uvicorn\nfrom app.server.listeners import Listeners\nListeners(uvicorn.Config('', port={taken.getsockname()[1]}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "already in use" in done.stderr
    taken.close()
    listeners.release()
