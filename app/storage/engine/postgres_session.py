"""What a session of PostgreSQL has to be like, and how each becomes so.

At the start of a session nothing is asked for that a pooler doesn't take. Then it is looked at:

    a connection of its own   what it needs is set for the session, in one statement
    behind a pooler           is set in each transaction (`SET LOCAL`), whichever connection that gets

A pooler is in the way where the process that serves us isn't the one that the server announced at the start:
poolers hand out keys of their own for cancelling, as PgBouncer, Odyssey and pgcat do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

AT_START = {"application_name": "checkout"}
"""What is given at the start of a session. PgBouncer refuses anything else, unless it is configured to ignore it."""

_RELIED_ON = {
    "jit": "off",  # our statements are short
    "statement_timeout": "0",  # it would end a COMMIT's wait for a standby, and the server call it committed
}
_OF_ITS_OWN = {
    "timezone": "UTC",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",  # whatever database or role say: fencing is built on it
    "default_transaction_deferrable": "off",
}
_MODEST = {
    # A client that stops within a transaction (SIGSTOP, a paused machine) soon loses it, with its locks.
    "idle_in_transaction_session_timeout": "3s",
    # Below COMMAND_SECONDS, so that no statement waits in the server after its client has timed out. A
    # statement_timeout must not do that: it would end a COMMIT's wait for a synchronous standby, and
    # the server would call the transaction committed all the same.
    "lock_timeout": "4s",
}
_PATIENT = {"idle_in_transaction_session_timeout": "0", "lock_timeout": "0"}

_LOOK = """
SELECT pg_backend_pid() AS pid,
       current_setting('server_encoding') AS encoding,
       current_setting('client_encoding') AS spoken,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('default_transaction_isolation') AS isolation
"""

_WITHOUT_PREPARED = ("26000", "42P05")
FORGETFUL_POOLER = (
    "The pooler before PostgreSQL doesn't keep prepared statements: PgBouncer does from 1.21 on, with "
    "max_prepared_statements above 0. Or name PostgreSQL itself in DATABASE_URL."
)


class UnsafeDatabase(RuntimeError):
    """The database is set so that it can't be relied on: it may forget what it has committed, for example."""


class NoCancelConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that drops itself where the driver would ask the server to cancel a statement.

    A cancel request ends a COMMIT's wait for a synchronous standby: the server then calls committed,
    and shows to everybody, what no standby has. Without it the commit keeps waiting, visible to no client.
    """

    pooled: bool = False
    """Whether each transaction may get another connection of a pooler's."""

    patient: bool = False
    """Whether it may wait for a lock, and stand idle in a transaction, for ever."""

    def _cancel_current_command(self, *_waiters: Any) -> None:
        self._loop.call_soon(self.terminate)


async def prepare_session(link: NoCancelConnection, *, patient: bool, seconds: float) -> None:
    """Check a new session and set what it needs. Raise `UnsafeDatabase` for what can't be set in it."""
    try:
        found = await link.fetchrow(_LOOK, timeout=seconds)
        link.pooled = found["pid"] != link.get_server_pid()
        link.patient = patient
        _check(found, pooled=link.pooled)
        if not link.pooled:
            wanted = {**_of(link), **_OF_ITS_OWN}
            await link.execute("; ".join(f"SET {name} = '{value}'" for name, value in wanted.items()))
    except asyncpg.PostgresError as error:
        if of_forgetful_pooler(error.sqlstate):
            raise UnsafeDatabase(FORGETFUL_POOLER) from error
        raise


def of_forgetful_pooler(sqlstate: str | None) -> bool:
    """Whether a statement that was prepared isn't there, or one is that wasn't: a pooler gave it another connection."""
    return sqlstate in _WITHOUT_PREPARED


def beginning(link: NoCancelConnection, wanted: Mapping[str, str] | None = None) -> str:
    """Return the statements that begin a transaction, with settings for it alone."""
    settings = {**(_of(link) if link.pooled else {}), **(wanted or {})}
    begin = ["BEGIN ISOLATION LEVEL READ COMMITTED"]
    return "; ".join(begin + [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()])


def transaction_settings(link: NoCancelConnection) -> str | None:
    """Return the statement that sets up a transaction which has begun; None where its session is set up."""
    if not link.pooled:
        return None
    return "SELECT " + ", ".join(
        f"set_config('{name}', '{value}', true)" for name, value in _of(link).items()
    )


def _of(link: NoCancelConnection) -> dict[str, str]:
    settings = {**_RELIED_ON, **(_PATIENT if link.patient else _MODEST)}
    if link.get_server_version() >= (17,):
        settings["transaction_timeout"] = "0"
    return settings


async def advice(link: NoCancelConnection) -> list[str]:
    """Return what an operator should look at in a session, each in a sentence: what can't be set in it, or costs."""
    found = await link.fetchrow(
        "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes"
    )
    words = [
        f"{name} is off: a crash of its machine may take the whole database along"
        for name, value in found.items()
        if value == "off"
    ]
    if link.pooled:
        words.append("a pooler is in the way: a write takes three round trips instead of one")
    return words


def _check(found: Mapping[str, Any], *, pooled: bool) -> None:
    if found["encoding"] != "UTF8":
        raise UnsafeDatabase(
            f"The database's encoding is {found['encoding']}, which can't hold every name and address: make one "
            "with CREATE DATABASE checkout ENCODING 'UTF8' TEMPLATE template0, and name it in DATABASE_URL."
        )
    if found["spoken"] != "UTF8":
        raise UnsafeDatabase(
            f"The session's client_encoding is {found['spoken']} and not UTF8, although asked for: let the pooler "
            "before PostgreSQL pass it on."
        )
    if found["synchronous_commit"] == "off":
        raise UnsafeDatabase("PostgreSQL has synchronous_commit off: set it to on, as money depends on it.")
    if pooled and found["isolation"] != "read committed":
        raise UnsafeDatabase(
            f"default_transaction_isolation is {found['isolation']} on the database or its role, and behind a pooler "
            "no session can change that: ALTER DATABASE checkout SET default_transaction_isolation = 'read committed' "
            "(or ALTER ROLE), and reconnect the pooler."
        )
