"""What a database's error blames: the moment, a lock that another session holds, or the entry itself.

An error of the moment passes, and the entry waits for that, however long. A lock delays only the entries
that need it. An error that blames the entry occurs on every try.
"""

from __future__ import annotations

import sqlite3
from enum import StrEnum

import asyncpg
from sqlalchemy.exc import DBAPIError


class Blame(StrEnum):
    """What is to blame, as far as the error shows."""

    MOMENT = "moment"
    LOCK = "lock"
    ENTRY = "entry"
    UNKNOWN = "unknown"


_BY_STATE = {
    "40002": Blame.ENTRY,  # an integrity constraint, at its COMMIT
    "55P03": Blame.LOCK,  # lock_not_available
}
_BY_CLASS = {
    "21": Blame.ENTRY,  # cardinality violation
    "22": Blame.ENTRY,  # data exception
    "23": Blame.ENTRY,  # integrity constraint violation
    "44": Blame.ENTRY,  # WITH CHECK OPTION violation
    "54": Blame.ENTRY,  # program limit exceeded: an index row that is too big, a text nested too deep
    "40": Blame.LOCK,  # serialization failure, deadlock: PostgreSQL says to do the whole again
    "08": Blame.MOMENT,  # connection exception
    "0A": Blame.MOMENT,  # a plan that the schema has overtaken
    "25": Blame.MOMENT,  # read-only: this was the primary; idle in a transaction for too long
    "26": Blame.MOMENT,  # a prepared statement that this server doesn't have
    "28": Blame.MOMENT,  # the password was changed
    "3D": Blame.MOMENT,  # no such database
    "3F": Blame.MOMENT,  # no such schema
    "42": Blame.MOMENT,  # no such table, no permission: the database isn't ours as it is
    "53": Blame.MOMENT,  # disk full, out of memory, too many connections
    "55": Blame.MOMENT,  # in no state for that
    "57": Blame.MOMENT,  # an operator intervenes: shut down, starting up, cancelled
    "58": Blame.MOMENT,  # an error of the operating system
}

_SQLITE_ENTRY = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_RANGE,
}
_SQLITE_UNKNOWN = {sqlite3.SQLITE_INTERNAL, sqlite3.SQLITE_MISUSE}

TO_BE_REPEATED = ("40001", "40P01")
"""serialization_failure and deadlock_detected: nothing was done, and the same again may well be."""


def blame_of_state(sqlstate: str | None) -> Blame:
    """Return whom PostgreSQL's SQLSTATE blames (its manual, appendix A)."""
    state = sqlstate or ""
    return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], Blame.UNKNOWN)


def blame_of_sqlite(error: Exception) -> Blame:
    """Return whom an error of the standard library's driver of SQLite blames."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | UnicodeError | OverflowError):
        return Blame.ENTRY
    if isinstance(error, OSError):
        return Blame.MOMENT
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # the driver's own, as of a parameter that it can't bind; or no database's error at all
        return Blame.UNKNOWN
    primary = code & 0xFF
    if primary in _SQLITE_ENTRY:
        return Blame.ENTRY
    return Blame.UNKNOWN if primary in _SQLITE_UNKNOWN else Blame.MOMENT


def blame_of(error: BaseException | None) -> Blame:
    """Return whom an error blames that SQLAlchemy or a driver raised, or that was raised from such a one."""
    while error is not None:
        if isinstance(error, DBAPIError):
            error = error.orig
        elif isinstance(error, asyncpg.PostgresError) or hasattr(error, "sqlstate"):
            return blame_of_state(error.sqlstate)
        elif isinstance(error, sqlite3.Error):
            return blame_of_sqlite(error)
        else:
            error = error.__cause__
    return Blame.UNKNOWN


def to_be_repeated(error: BaseException | None) -> bool:
    """Whether PostgreSQL says that the same transaction, done again as a whole, may succeed."""
    while error is not None:
        if isinstance(error, DBAPIError):
            error = error.orig
        elif hasattr(error, "sqlstate"):
            return error.sqlstate in TO_BE_REPEATED
        else:
            error = error.__cause__
    return False
