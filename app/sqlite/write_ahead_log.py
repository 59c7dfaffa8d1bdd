"""SQLite's write-ahead log, also where several processes open one new file together."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from time import monotonic, sleep

BUSY_SECONDS = 10.0
"""How long a connection to SQLite waits for another one."""

_BETWEEN_SECONDS = 0.01


def switch_to_wal(execute: Callable[[str], object]) -> None:
    """Switch the file behind `execute` to the write-ahead log, in which it stays.

    SQLite refuses the switch at once while another connection writes, whatever its busy timeout: it holds
    a shared lock by then, and waiting with that could be a deadlock. So we ask again, up to `BUSY_SECONDS`.
    Only a file that is new can be busy so: on one that has switched before it changes nothing, and is free.
    Raise `sqlite3.OperationalError` where it stays busy, or for any other reason that SQLite gives.
    """
    until = monotonic() + BUSY_SECONDS
    while True:
        try:
            execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() >= until:
                raise
        else:
            return
        sleep(_BETWEEN_SECONDS)
