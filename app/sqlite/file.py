"""A SQLite file: opened with a sentence where it can't be, and watched for as long as it is open.

SQLite continues with the file that it has opened, also after that was removed, replaced, or hidden below a mount:
what it commits from then on is not in the file at the path. So call `SqliteFiles.check` before a commit is
acknowledged.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

_logger = logging.getLogger(__name__)

_PARTS = ("", "-wal", "-shm")
"""The file, what was committed and isn't in it yet, and what its processes know of that."""


class SqliteFileError(sqlite3.OperationalError):
    """A SQLite file can't be opened, or isn't the one that was opened; the sentence names its path."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN  # no fault of what was to be stored, and it may pass


def connect_file(path: str, *, create: bool, **options: Any) -> sqlite3.Connection:
    """Connect as `sqlite3.connect` does with these options. Raise `SqliteFileError`.

    Without `create` a file that isn't there is none: an empty one in its place would hide the loss.
    """
    with explained(path):
        connection: sqlite3.Connection = sqlite3.connect(file_uri(path, create=create), uri=True, **options)
    return connection


def file_uri(path: str, *, create: bool) -> str:
    """Return a file's URI as SQLite reads it."""
    return f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={'rwc' if create else 'rw'}"  # noqa: PTH100 (keeps links)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Raise `SqliteFileError` for an error of SQLite's that the file or its folder explains."""
    try:
        yield
    except SqliteFileError:
        raise
    except sqlite3.DatabaseError as error:
        sentence = why_not(path, error)
        if sentence is None:
            raise
        raise SqliteFileError(sentence) from error


def why_not(path: str, error: sqlite3.Error | None = None) -> str | None:
    """Return a sentence that says why a file can't be opened and written, or None where it seems that it can."""
    folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 (as above)
    if os.path.isdir(path):  # noqa: PTH112
        return f"{path} is a folder, not a SQLite file: name a file in it, such as {path.rstrip('/')}/checkout.db."
    if not os.path.isdir(folder):  # noqa: PTH112
        what = "isn't a folder" if os.path.exists(folder) else "doesn't exist"  # noqa: PTH110
        return f"The folder of the SQLite file {path} {what}: make {folder}, or name another file."
    if not os.path.exists(path):  # noqa: PTH110
        if os.access(folder, os.W_OK | os.X_OK) and error is None:
            return None
        if os.access(folder, os.W_OK | os.X_OK):
            return f"There is no SQLite file {path}: is its path right?"
    elif not os.access(path, os.R_OK | os.W_OK):
        return f"The SQLite file {path} can't be read and written by this user (uid {os.getuid()}): change its owner or mode."
    if not os.access(folder, os.W_OK | os.X_OK):
        return (
            f"The folder of the SQLite file {path} can't be written by this user (uid {os.getuid()}): SQLite keeps "
            f"its log beside the file, so change the owner or mode of {folder}."
        )
    if error is not None and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_NOTADB:
        return f"{path} is a file of another kind, not SQLite's: name another one."
    return None


class SqliteFiles:
    """The files behind a database that is open, and has been read: by then SQLite has made all of them."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100 (a change of the working directory changes nothing)
        self._known = {
            f"{self._path}{part}": found
            for part in _PARTS
            if (found := _identity(f"{self._path}{part}")) is not None
        }
        self._lost = False

    def check(self) -> None:
        """Raise `SqliteFileError` where a file was removed or replaced; the log says so once. Takes microseconds."""
        for path, known in self._known.items():
            if _identity(path) != known:
                sentence = (
                    f"The database's file {path} was removed or replaced while it was open, so nothing more is "
                    "stored: put it back, or restart on the one that is to be used."
                )
                if not self._lost:
                    _logger.error("database_file_lost", extra={"path": path, "hint": sentence})
                self._lost = True
                raise SqliteFileError(sentence)
        if self._lost:
            _logger.warning("database_file_recovered", extra={"path": self._path})
        self._lost = False


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (a third of pathlib's time, before and after each commit)
    except OSError:
        return None
    return found.st_dev, found.st_ino
