"""The log's writer: it never holds anybody up, drops what nobody takes, and says so."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO, cast

import pytest

from app.telemetry.log_writer import LogWriter, log_writer_for

SECONDS = 60.0


@dataclass
class Pipe:
    """A pipe of 4 KB, and what writes a log into it."""

    reading: int
    writing: int
    writer: LogWriter
    counted: list[int] = field(default_factory=list)

    def log(self, text: str) -> None:
        self.writer.handle(logging.LogRecord("app", logging.INFO, __file__, 0, text, None, None))

    def read_until(self, end: str) -> list[str]:
        came = b""
        while not came.endswith(end.encode()):
            assert select.select([self.reading], [], [], SECONDS)[0], f"{end!r} did not come after {came!r}"
            came += os.read(self.reading, 65_536)
        return came.decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    made = Pipe(reading, writing, LogWriter(writing, buffer_bytes=1_000))
    made.writer.on_drop = made.counted.append
    yield made
    os.close(reading)  # which ends a thread that writes still
    made.writer.flush(SECONDS)
    os.close(writing)


def test_lines_are_written_in_order_and_whole(pipe: Pipe) -> None:
    def log_all(name: str) -> None:
        for n in range(20):
            pipe.log(f"{name} {n}")

    threads = [threading.Thread(target=log_all, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.writer.flush(SECONDS)
    os.write(pipe.writing, b"end\n")
    lines = pipe.read_until("end\n")
    assert [line for line in lines if line[0] == "a"] == [f"a {n}" for n in range(20)]
    assert len(lines) == 61
    assert pipe.writer.dropped == 0


def test_nobody_waits_for_a_pipe_that_nobody_reads_and_what_was_dropped_is_told(pipe: Pipe) -> None:
    """This returns at all: the lines are more than the pipe and the buffer hold together."""
    pipe.writer.setFormatter(logging.Formatter("%(message)s%(count)s", defaults={"count": ""}))
    for n in range(200):
        pipe.log(f"{n:03} " + "x" * 96)
    dropped = pipe.writer.dropped
    assert 100 < dropped < 200
    assert sum(pipe.counted) == dropped
    pipe.writer.flush(0.01)  # the process's end waits for no longer than it says
    lines = pipe.read_until("\n")
    while not lines[-1].startswith("log_lines_dropped"):
        lines += pipe.read_until("\n")
    assert lines[-1] == f"log_lines_dropped{dropped}"
    taken = [int(line[:3]) for line in lines[:-1]]
    assert len(taken) == 200 - dropped
    assert taken == sorted(taken)
    pipe.log("again")
    assert pipe.read_until("again\n") == ["again"]
    pipe.writer.flush(SECONDS)
    assert pipe.writer.dropped == dropped


def test_what_was_dropped_is_told_also_where_somebody_waits_for_the_lines_before(pipe: Pipe) -> None:
    pipe.writer.setFormatter(logging.Formatter("%(message)s%(count)s", defaults={"count": ""}))
    pipe.log("x" * 10_000)  # more than the pipe holds
    give_up = time.monotonic() + SECONDS
    while not pipe.writer._lines.empty() and time.monotonic() < give_up:
        time.sleep(0.001)  # the writer has it in hand
    pipe.log("dropped")
    pipe.writer.flush(0.01)
    assert pipe.read_until("log_lines_dropped1\n") == ["x" * 10_000, "log_lines_dropped1"]


def test_at_the_end_nothing_that_can_be_written_is_lost(pipe: Pipe) -> None:
    for n in range(9):
        pipe.log(f"{n}" * 100)
    pipe.writer.flush(SECONDS)
    os.set_blocking(pipe.reading, False)
    assert len(os.read(pipe.reading, 65_536).splitlines()) == 9


def test_a_reader_that_is_gone_ends_nothing(pipe: Pipe) -> None:
    """What can't be written is counted."""
    other_reading, other_writing = os.pipe()
    os.dup2(other_writing, pipe.writing)
    os.close(other_writing)
    os.close(other_reading)
    pipe.log("into nothing")
    pipe.writer.flush(SECONDS)
    assert pipe.writer.dropped >= 1


def test_a_pipe_that_somebody_made_not_to_block_loses_nothing(pipe: Pipe) -> None:
    """A shell, or a sibling, that shares it."""
    os.set_blocking(pipe.writing, False)
    pipe.writer._most = 100_000
    for n in range(100):
        pipe.log(f"{n:03} " + "x" * 96)
    pipe.log("end")
    assert len(pipe.read_until("end\n")) == 101


def test_a_stream_of_memory_alone_is_written_at_once() -> None:
    stream = io.StringIO()
    handler = log_writer_for(cast("TextIO", stream))
    handler.handle(logging.LogRecord("app", logging.INFO, __file__, 0, "said", None, None))
    assert stream.getvalue() == "said\n"
