"""A worker, as the process itself knows it: one of several that a parent has forked, and starts again when they die."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import ClassVar

OWNER, READY = "owner", "ready"
"""What a worker reports, a line each."""


class Worker:
    """Tells the parent what it must know should this process die. `predecessors` are owners of sagas that have died.

    They have died for certain, as the parent has reaped their processes: who starts in their place releases their
    leases, rather than let them lapse.
    """

    this: ClassVar[Worker | None] = None
    """The one that this process is, if it is any."""

    def __init__(self, reports: int, predecessors: Sequence[str] = ()) -> None:
        self._reports = reports
        self.predecessors = predecessors

    def owns_as(self, owner: str) -> str:
        """Report the name under which this process is about to own sagas, and return it."""
        self._report(f"{OWNER} {owner}")
        return owner

    def is_ready(self) -> None:
        """Report that the service is open and listens, and that its predecessors' leases are released."""
        self._report(READY)

    def _report(self, line: str) -> None:
        try:
            os.write(self._reports, f"{line}\n".encode())
        except OSError:  # the parent has ended, and this process is about to
            return


def stop_with_parent(alive: int) -> None:
    """Stop this process in order once the parent has ended, whose end of this pipe then closes."""

    def wait() -> None:
        os.read(alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
