"""The parent of the workers, with workers that do next to nothing: real processes of a small program."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from tests.processes import ROOT

ANSWER_SECONDS = 60.0
PROGRAM = """
import logging, os, signal, socket, sys
from app.server import supervisor
from app.server.supervisor import Supervisor

class Config:
    uds = fd = None
    def load(self): pass
    def bind_socket(self):
        one = socket.socket()
        one.bind(("127.0.0.1", 0))
        return one

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Says(logging.Handler):
    def emit(self, record):
        say(record.msg, record.how, record.pause_seconds)

logging.getLogger("app").addHandler(Says())

def serve(config, listener, worker):
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append("SIGTERM"))
    worker.owns_as(f"owner-{os.getpid()}")
    {start}
    worker.is_ready()
    say("ready", os.getpid(), *worker.predecessors)  # Whoever kills it now knows that it has reported.
    while not asked:
        signal.pause()
    say("stopped", os.getpid())
    return 0

supervisor.STEADY_SECONDS = {steady}
sys.exit(Supervisor(Config(), 2, serve).run())
"""


class Program:
    """The program while it runs; `said` returns its next line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._lines: queue.Queue[list[str]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.decode().split())

    def said(self) -> list[str]:
        """Return the words of the next line."""
        return self._lines.get(timeout=ANSWER_SECONDS)

    def ready(self) -> tuple[int, list[str]]:
        """Return the next worker that is ready: its pid, and whose leases it releases."""
        word, pid, *predecessors = self.said()
        assert word == "ready"
        return int(pid), predecessors


@contextlib.contextmanager
def running(start: str = "pass", steady: float = 0.0) -> Iterator[Program]:
    """Run the program in a process group of its own; `start` is what a worker does before it is ready."""
    text = PROGRAM.replace("{start}", start).replace("{steady}", str(steady)).replace("\\\\n", "\\n")
    with subprocess.Popen(
        [sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield Program(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_another_takes_the_place_of_a_worker_that_died_and_learns_whose_leases_to_release() -> None:
    """Its process is gone for certain, so nobody has to wait for the lease."""
    with running() as program:
        first, second = program.ready(), program.ready()
        assert (first[1], second[1]) == ([], [])
        os.kill(second[0], signal.SIGKILL)
        assert program.said() == ["worker_died", "signal", "SIGKILL", "0.0"]
        third, predecessors = program.ready()
        assert third not in {first[0], second[0]}
        assert predecessors == [f"owner-{second[0]}"]
        os.kill(third, signal.SIGKILL)
        assert program.said()[0] == "worker_died"
        assert program.ready()[1] == [f"owner-{third}"], "the second's is released already"


def test_a_worker_that_ended_in_order_is_replaced_and_leaves_no_lease() -> None:
    """As one does after so many requests (`--limit-max-requests`)."""
    with running() as program:
        first, _ = program.ready()
        program.ready()
        os.kill(first, signal.SIGTERM)
        assert program.said() == ["stopped", str(first)]
        assert program.ready()[1] == []


def test_a_signal_stops_all_workers_and_the_exit_code_is_one() -> None:
    with running() as program:
        workers = {str(program.ready()[0]), str(program.ready()[0])}
        program.process.send_signal(signal.SIGTERM)
        assert {tuple(program.said()), tuple(program.said())} == {("stopped", one) for one in workers}
        assert program.process.wait(ANSWER_SECONDS) == 0


def test_the_workers_stop_once_their_parent_has_died() -> None:
    """In order: nobody would start them again, and nobody could stop them."""
    with running() as program:
        workers = {str(program.ready()[0]), str(program.ready()[0])}
        program.process.kill()
        assert {tuple(program.said()), tuple(program.said())} == {("stopped", one) for one in workers}


def test_a_start_that_fails_ends_the_server_with_the_workers_code() -> None:
    """By the first worker, alone: two would say the same."""
    with running(start="say('fails'); return 3") as program:
        assert program.said() == ["fails"]
        assert program.process.wait(ANSWER_SECONDS) == 3


def test_workers_that_die_young_again_and_again_are_started_after_pauses() -> None:
    """The first at once, as what killed it was most likely an accident."""
    with running(steady=1000.0) as program:
        program.ready()
        pauses = []
        for _ in range(3):
            worker, _ = program.ready()
            os.kill(worker, signal.SIGKILL)
            pauses.append(program.said()[-1])
        assert pauses == ["0.0", "1.0", "2.0"]
