"""Log lines are written by a thread of their own: a pipe that nobody reads blocks that thread, never the service.

Lines wait in memory, in order, up to a number of bytes. Past it a line is dropped and counted, and once lines are
taken again one says how many are missing. At the end of the process what waits is written, if that takes no
longer than a moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TextIO

BUFFER_BYTES = 4_194_304
GATHER_SECONDS = 0.02
"""How long the thread lets lines gather: one that is woken at each takes the interpreter from the service each time."""

FLUSH_SECONDS = 2.0
_CHUNK = 65_536


class LogWriter(logging.Handler):
    """Writes lines to a file descriptor from a thread of its own; `emit` never waits.

    `on_drop` is called with a number of lines for each time that some are dropped, in whichever thread logs.
    """

    def __init__(self, descriptor: int, *, encoding: str = "utf-8", buffer_bytes: int = BUFFER_BYTES) -> None:
        super().__init__()
        self.dropped = 0
        self.on_drop: Callable[[int], None] = _nothing
        self._descriptor = descriptor
        self._encoding = encoding
        self._most = buffer_bytes
        self._said = 0
        self._counting = threading.Lock()
        self._waits = True
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        # Made where the first line is: a fork has no threads, and importing the service begins none.
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given = 0  # Characters, which are bytes in all but a few lines.
        self._taken = 0
        self._behind = False
        self._hurry = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line, or drop it where too many wait."""
        if self._given - self._taken >= self._most:
            self._count(1)
            return
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 (as logging's own handlers do)
            self.handleError(record)
            return
        if self.dropped > self._said and (missing := self._missing()):
            line = f"{missing}\n{line}"  # just where they are missing
        self._given += len(line)
        self._lines.put(line)
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_for_ever, name="log-writer", daemon=True)
            self._thread.start()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until all lines so far are written, or for `seconds`; after one that was in vain not again."""
        if self._thread is None or not self._waits or threading.current_thread() is self._thread:
            return
        written = threading.Event()
        self._lines.put(written)
        self._hurry.set()
        self._waits = written.wait(seconds)

    def _write_for_ever(self) -> None:
        while True:
            lines, waiting = self._take()
            if lines:
                self._write("\n".join(lines) + "\n")
                self._taken += sum(map(len, lines))
            if self.dropped > self._said and self._lines.empty() and (missing := self._missing()):
                self._write(missing + "\n")
            for written in waiting:
                self._waits = True
                written.set()

    def _take(self) -> tuple[list[str], list[threading.Event]]:
        """Return the next lines, up to a chunk of them, and who waits for them to be written."""
        lines: list[str] = []
        waiting: list[threading.Event] = []
        size = 0
        with contextlib.suppress(Empty):
            one = self._lines.get()
            if isinstance(one, str) and not self._behind:
                self._hurry.wait(GATHER_SECONDS)
                self._hurry.clear()
            while True:
                if isinstance(one, str):
                    lines.append(one)
                    size += len(one)
                else:
                    waiting.append(one)
                self._behind = size >= _CHUNK
                if self._behind:
                    break
                one = self._lines.get_nowait()
        return lines, waiting

    def _write(self, text: str) -> None:
        left = memoryview(text.encode(self._encoding, "backslashreplace"))
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # somebody who shares the pipe has made it so
                select.select([], [self._descriptor], [])
            except OSError:  # nobody will ever take it: the other end is closed
                self._count(text.count("\n"))
                return

    def _count(self, lines: int) -> None:
        with self._counting:
            self.dropped += lines
        self.on_drop(lines)

    def _missing(self) -> str:
        """Return the line that counts what was dropped since the last one, or nothing."""
        with self._counting:
            missing, self._said = self.dropped - self._said, self.dropped
        if not missing:
            return ""
        record = logging.LogRecord("app.log", logging.WARNING, __file__, 0, "log_lines_dropped", (), None)
        record.count = missing
        return self.format(record)


def log_writer_for(stream: TextIO, *, buffer_bytes: int = BUFFER_BYTES) -> logging.Handler:
    """Return a handler that writes where `stream` does; one of memory alone never blocks, and is written at once."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return logging.StreamHandler(stream)
    stream.flush()
    return LogWriter(
        descriptor, encoding=stream.encoding or sys.getdefaultencoding(), buffer_bytes=buffer_bytes
    )


def the_log_writer() -> LogWriter | None:
    """Return what writes the service's log, where it is written by a thread."""
    return next((one for one in logging.getLogger("app").handlers if isinstance(one, LogWriter)), None)


def _nothing(_lines: int) -> None:
    """Nobody counts."""
