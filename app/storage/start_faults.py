"""What keeps a database from being used, as one sentence: what is wrong, and what an operator does about it."""

from __future__ import annotations

import os
import socket
import sqlite3
import ssl
from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import DBAPIError

from app.settings.database_url import PostgresUrl
from app.settings.database_url_parser import parse_database_url
from app.sqlite.file import SqliteFileError, why_not
from app.storage.engine.database import UnsafeDatabase
from app.storage.engine.postgres_connector import CONNECT_SECONDS
from app.storage.schema.schema_version import LockHeld, SchemaUnfit

_NO_SCHEMA = "The database has no schema yet: run `make migrate` with the same DATABASE_URL."


def database_fault(error: BaseException, url: str) -> str | None:
    """Return the sentence for what a database raised, or None where it isn't one of the known faults.

    It has the words of the database's own server, with names of users, databases and hosts; never a password.
    """
    parsed = parse_database_url(url)
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, SqliteFileError | UnsafeDatabase | SchemaUnfit | LockHeld):
            return str(one)
    for one in chain:
        found = _of_postgres(one, parsed) if isinstance(parsed, PostgresUrl) else _of_sqlite(one, parsed.path)
        if found:
            return found
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came of, the innermost first: that one knows the cause."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        inner = error.orig if isinstance(error, DBAPIError) else None
        error = inner or error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    yield from reversed(found)


def _of_sqlite(error: BaseException, path: str) -> str | None:
    if not isinstance(error, sqlite3.Error):
        return None
    if "no such table" in str(error):
        return _NO_SCHEMA
    return why_not(path, error) or f"The SQLite file {path} can't be used: {error}."


def _of_postgres(error: BaseException, url: PostgresUrl) -> str | None:
    place = f"PostgreSQL at {url.place}"
    match error:
        case asyncpg.InvalidCatalogNameError():
            return f"{place} says: {_said(error)}. Make the database, or correct its name in DATABASE_URL."
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"{place} says: {_said(error)}. Are the user and the password in DATABASE_URL right?"
        case asyncpg.UndefinedTableError():
            return _NO_SCHEMA
        case asyncpg.InsufficientPrivilegeError():
            return f"{place} says: {_said(error)}. Grant the user of DATABASE_URL what is missing."
        case asyncpg.TargetServerAttributeNotMatched():
            return f"{place} takes no writes, and the service needs a primary: is DATABASE_URL's host right?"
        case asyncpg.PostgresError():
            return f"{place} says: {_said(error)} (SQLSTATE {error.sqlstate})."
    return _of_the_way_there(error, place, url)


def _of_the_way_there(error: BaseException, place: str, url: PostgresUrl) -> str | None:
    match error:
        case asyncpg.ClientConfigurationError():
            return f"DATABASE_URL, or a PG… variable beside it, can't be used: {_said(error)}."
        case ssl.SSLError():
            return (
                f"TLS with {place} failed: {error.reason or type(error).__name__}. Are sslmode and sslrootcert in "
                "DATABASE_URL right (sslrootcert=system trusts what the machine does)?"
            )
        case socket.gaierror():
            return f"The name of {place} isn't known ({error.strerror}): is the host in DATABASE_URL right?"
        case TimeoutError():
            seconds = url.connect_seconds or CONNECT_SECONDS
            return f"{place} has not answered within {seconds:g} s: is DATABASE_URL right, and the server up?"
        case FileNotFoundError() | PermissionError() if lost := _unreadable(url):
            return f"DATABASE_URL's {lost} can't be read: correct its path, or its mode."
        case ConnectionError() if "SSL" in str(error):
            return f"{place} offers no TLS, which DATABASE_URL's sslmode wants: set it up there, or change sslmode."
        case OSError():
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            return f"{place} can't be reached ({why}): is DATABASE_URL right, and the server up?"
    return None


def _said(error: BaseException) -> str:
    return " ".join(str(error.args[0] if error.args else type(error).__name__).split()).rstrip(".")[:300]


def _unreadable(url: PostgresUrl) -> str | None:
    """Return the parameter and path of a TLS file that isn't there for this user."""
    for name, path in url.tls_files.items():
        if not os.access(path, os.R_OK):
            return f"{name} ({path})"
    return None
