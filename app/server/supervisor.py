"""The parent of several workers: starts them, starts them again, and stops them.

    parent: imports everything, opens nothing ──fork──▶ worker: opens the service, listens, reports its owner's name
      ▲ a worker ends ── reap it ── fork another, which releases the lease of the dead one ──▶ its sagas are taken over

It forks rather than spawns: what is imported is shared, so that a worker costs a third of the memory, and one that
died is replaced in the time that it takes to open the database. That is safe as the parent has neither an event loop
nor a connection, and no thread but the one that writes the log, which a fork leaves behind (`LogWriter`).
"""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app.server.listeners import Listeners
from app.server.worker import OWNER, READY, Worker, stop_with_parent

_logger = logging.getLogger(__name__)

STEADY_SECONDS = 10.0
"""A worker that has lived for less than this has died young: the third in a row is started only after a pause."""

LONGEST_PAUSE_SECONDS = 30.0
STOPS = (signal.SIGTERM, signal.SIGINT)

Serve = Callable[[uvicorn.Config, socket.socket, Worker], int]
"""Serves on a socket in a worker's process, and returns its exit code."""


@dataclass(kw_only=True)
class _Place:
    """A worker's place. `owners` are the names under which its process owns sagas, `dead` those of processes before it."""

    listener: socket.socket | None = None
    process: ForkProcess | None = None
    reports: int = -1
    unread: bytes = b""
    owners: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    ready: bool = False
    born: float = 0.0
    died_young: int = 0
    start_at: float | None = None


class Supervisor:
    """Keeps `count` workers running, each in a process of its own, until a signal stops them."""

    def __init__(self, config: uvicorn.Config, count: int, serve: Serve) -> None:
        self._config = config
        self._serve = serve
        self._places = [_Place() for _ in range(count)]
        self._signals: list[int] = []
        self._heeded = 0  # how many of them
        self._started = False  # whether any worker was ever ready
        self._code = 0

    def run(self) -> int:
        """Serve until a signal; return the exit code: 0 where all workers ended in order.

        A start that fails is told by the first worker, alone: there is no other yet. After a second signal, which
        stops the workers at once, this process ends as one without workers does.
        """
        self._config.load()
        self._listeners = Listeners(self._config)
        gc.freeze()  # else a collection would copy the pages that all share
        self._alive, self._wake = os.pipe(), os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        before = [signal.signal(number, self._on_signal) for number in STOPS]
        waked = signal.set_wakeup_fd(self._wake[1])
        try:
            self._start(self._places[0])
            while any(place.process for place in self._places) or not (self._signals or self._code):
                self._turn()
        finally:
            signal.set_wakeup_fd(waked)
            for number, handler in zip(STOPS, before, strict=True):
                signal.signal(number, handler)
            self._listeners.release()
        if len(self._signals) > 1 and self._signals[-1] == signal.SIGTERM and self._code < 0:
            signal.raise_signal(signal.SIGTERM)
        return max(0, self._code)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)  # which wakes the next turn: a worker may be about to start right now

    def _stop(self, number: int) -> None:
        """Have all workers drain, at a second signal end at once. What connects from now on finds those that still listen."""
        for place in self._places:
            place.start_at = None
            self._close_listener(place)
            if place.process is not None and place.process.pid is not None and place.process.is_alive():
                os.kill(place.process.pid, number)

    def _turn(self) -> None:
        """Wait until something happens, and see to it."""
        due = [place.start_at for place in self._places if place.start_at is not None]
        running = [place for place in self._places if place.process is not None]
        handles = [place.process.sentinel for place in running if place.process] + [
            place.reports for place in running
        ]
        seconds = max(0.0, min(due) - time.monotonic()) if due else None
        wait([*handles, self._wake[0]], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake[0], 4096)
        while self._heeded < len(self._signals):
            self._stop(signal.SIGTERM if not self._heeded else self._signals[self._heeded])
            self._heeded += 1
        for place in running:
            self._read_reports(place)
            if place.process is not None and not place.process.is_alive():
                self._reaped(place, place.process)
        now = time.monotonic()
        for place in self._places:
            if place.start_at is not None and place.start_at <= now:
                self._start(place)

    def _read_reports(self, place: _Place) -> None:
        try:
            place.unread += os.read(place.reports, 65_536)
        except BlockingIOError:
            return
        *lines, place.unread = place.unread.split(b"\n")
        for line in lines:
            word, _, said = line.decode().partition(" ")
            if word == OWNER:
                place.owners.append(said)
            elif word == READY:
                place.ready, place.dead = True, []
                if not self._started:
                    self._started = True
                    for other in self._places:
                        if other.process is None and not self._signals:
                            self._start(other)

    def _reaped(self, place: _Place, process: ForkProcess) -> None:
        """See to a worker that has ended: nothing of it runs any more."""
        process.join()
        code = process.exitcode or 0
        self._read_reports(place)
        os.close(place.reports)
        place.process = None
        if code != 0:
            place.dead += place.owners
        place.owners = []
        if self._signals or self._code:
            self._code = self._code or code
            return
        if not self._started:
            self._code = code if code > 0 else STARTUP_FAILURE
            return
        young = not place.ready or time.monotonic() - place.born < STEADY_SECONDS
        place.died_young = place.died_young + 1 if code != 0 and young else 0
        pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** (place.died_young - 2)) if place.died_young > 1 else 0.0
        place.start_at = time.monotonic() + pause
        if pause:
            self._close_listener(place)  # its clients need not wait so long
        if code != 0:
            _logger.error("worker_died", extra=_words(process.pid, code, pause))

    def _start(self, place: _Place) -> None:
        place.start_at = None
        place.ready, place.unread, place.born = False, b"", time.monotonic()
        if place.listener is None:
            place.listener = self._listeners.open()
        place.reports, theirs = os.pipe()
        os.set_blocking(place.reports, False)
        process = multiprocessing.get_context("fork").Process(
            target=self._in_worker, args=(place, theirs), name=f"worker-{self._places.index(place) + 1}"
        )
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # one that comes now would be lost in the worker
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        os.close(theirs)
        place.process = process

    def _in_worker(self, place: _Place, reports: int) -> None:
        """Be a worker. The terminal's SIGINT is the parent's: it passes on that everybody is to stop."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        for end in (self._alive[1], *self._wake, place.reports):
            os.close(end)
        for other in self._places:
            if other is not place:
                self._close_listener(other)
                if other.process is not None:
                    os.close(other.reports)
        stop_with_parent(self._alive[0])
        Worker.this = Worker(reports, tuple(place.dead))
        if place.listener is None:
            raise RuntimeError("A worker has a socket to listen on.")
        sys.exit(self._serve(self._config, place.listener, Worker.this))

    def _close_listener(self, place: _Place) -> None:
        if place.listener is not None:
            self._listeners.close(place.listener)
            place.listener = None


def _words(pid: int | None, code: int, pause: float) -> dict[str, object]:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    again = f"after {pause:g} s, as it has died young again and again" if pause else "at once"
    return {
        "worker": pid,
        "how": how,
        "pause_seconds": pause,
        "hint": f"A worker has ended by {how}. Its sagas are taken over, and another is started {again}.",
    }
