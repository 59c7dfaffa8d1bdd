"""A process that keeps PostgreSQL servers for a test, and stops them when the test ends, however it ends.

test ──a word on standard input──▶ keeper ──child──▶ postgres …
     ◀──────────── "done" ────────
the end of the pipe makes the keeper stop its servers for good, as in tests/postgres.py
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.postgres import NoPostgres, _binaries

ROOT = Path(__file__).resolve().parents[3]


class Keeper:
    """A running keeper, and the URLs that it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._words, self._answers = process.stdin, process.stdout
        line = self._answers.readline()
        self.urls = line.split()
        if not self.urls or not all(url.startswith("postgresql://") for url in self.urls):
            raise NoPostgres(f"PostgreSQL did not start:\n{line}\n{self._answers.read()}")

    def ask(self, word: str) -> None:
        """Have the keeper do what the word says; return once it is done. Raise `NoPostgres` where it can't be."""
        self._words.write(f"{word}\n")
        self._words.flush()
        answer = self._answers.readline().strip()
        if answer != "done":
            raise NoPostgres(f"PostgreSQL would not {word}: {answer}{self._answers.read()}")


@contextlib.contextmanager
def a_keeper(module: str) -> Iterator[Keeper]:
    """Run a module as a keeper, on servers of its own, whatever TEST_DATABASE_URL says: nobody else's may be stopped."""
    binaries, _ = _binaries()
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(binaries)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield Keeper(process)
        finally:
            process.terminate()


def say(word: str) -> None:
    """Answer, as the keeper."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
