"""One port for several workers: each has a listening socket of its own, and the kernel shares connections out to them.

With one socket for all, whichever worker wakes first takes every connection that waits, and keeps them for as long as
their clients do: one worker would do most of the work. The parent holds each socket open as well: what connects while
a worker is being replaced waits for the new one, which so gets the share of the old one.
"""

from __future__ import annotations

import socket
import sys

import uvicorn


class Listeners:
    """The sockets of one server, which listen once their worker does."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Bind; end the process with a sentence where the address can't be had, also if another such server has it."""
        self._held = config.bind_socket()
        self._shared = config.uds is not None or config.fd is not None or sys.platform != "linux"
        if not self._shared:
            self._family, self._address = self._held.family, self._held.getsockname()
            self._held.close()
            # It never listens. It keeps an address that the system chose while no worker has it.
            self._held = self._bound()

    def open(self) -> socket.socket:
        """Return a socket for one worker."""
        return self._held if self._shared else self._bound()

    def close(self, one: socket.socket) -> None:
        """Close a worker's socket here. Once its worker has ended too, others get what connects."""
        if not self._shared:
            one.close()

    def release(self) -> None:
        """Give the address up."""
        self._held.close()

    def _bound(self) -> socket.socket:
        one = socket.socket(self._family)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(self._address)
        return one
