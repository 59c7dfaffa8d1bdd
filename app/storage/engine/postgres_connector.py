"""Connects to PostgreSQL: of several hosts to the primary, also while another one doesn't answer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from typing import Any

import asyncpg

from app.settings.database_url import SYSTEM_ROOTS, Host, PostgresUrl
from app.storage.engine.postgres_session import AT_START, NoCancelConnection, prepare_session

CONNECT_SECONDS = 5.0
HEAD_START_SECONDS = 1.0
"""How long one of several hosts may take to answer before the next one is tried as well."""

COMMAND_SECONDS = 5.0
"""After this long without an answer a connection to PostgreSQL counts as broken."""


class PostgresConnector:
    """Connects to the hosts of one URL, and remembers which of them was the primary."""

    def __init__(self, url: PostgresUrl) -> None:
        self._url = url
        self._hosts = list(url.hosts)

    async def connect(
        self, *, patient: bool = False, command_seconds: float | None = None
    ) -> NoCancelConnection:
        """Connect to the primary and set up the session. Raise `UnsafeDatabase` where it can't be relied on.

        A `patient` connection may wait for a lock, and be idle in a transaction, without a limit. A command
        times out after `command_seconds`, or never.
        """
        link = await self._connect_to_primary(
            connection_class=NoCancelConnection,
            command_timeout=command_seconds,
            server_settings={**AT_START, **self._url.server_settings},
            **_driver_options(self._url),
        )
        _set_socket_options(link, self._url)
        try:
            await prepare_session(link, patient=patient, seconds=CONNECT_SECONDS)
        except BaseException:
            link.terminate()
            raise
        return link

    async def _connect_to_primary(self, **options: Any) -> NoCancelConnection:
        """Connect to the hosts, the last good one first, each with a head start before the next.

        As Happy Eyeballs does (RFC 8305): a host that doesn't answer must not keep us from the one that
        was promoted in its place. Raise the last host's error where no host can be used.
        """
        waiting = deque(self._hosts)
        trying: dict[asyncio.Task[NoCancelConnection], Host] = {}
        try:
            while True:
                if waiting:
                    host = waiting.popleft()
                    asked = asyncpg.connect(host=host.name, port=host.port, **options)
                    trying[asyncio.create_task(asked)] = host
                head_start = HEAD_START_SECONDS if waiting else None
                done, _ = await asyncio.wait(trying, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    host = trying.pop(task)
                    error = task.exception()
                    if error is None:
                        self._hosts.remove(host)
                        self._hosts.insert(0, host)
                        return task.result()
                    if not trying and not waiting:
                        raise error
        finally:
            for task in trying:
                task.cancel()
            for late in await asyncio.gather(*trying, return_exceptions=True):
                if isinstance(late, asyncpg.Connection):
                    late.terminate()


def _driver_options(url: PostgresUrl) -> dict[str, Any]:
    """Return asyncpg's arguments beside the host. It takes the settings of TLS in a URL only."""
    options: dict[str, Any] = {
        "dsn": f"postgresql://?{url.driver_query}" if url.driver_query else None,
        "user": url.user,
        "password": url.password,
        "database": url.database,
        "target_session_attrs": url.target,
        "timeout": url.connect_seconds or CONNECT_SECONDS,
    }
    if url.tls_roots == SYSTEM_ROOTS:
        context = ssl.create_default_context()
        if certificate := url.tls_files.get("sslcert"):
            context.load_cert_chain(certificate, url.tls_files.get("sslkey"))
        options["ssl"] = context
    return options


def _set_socket_options(connection: asyncpg.Connection, url: PostgresUrl) -> None:
    if not url.socket_options:
        return
    link = connection._transport.get_extra_info("socket")  # noqa: SLF001 (the driver has no word for it)
    for level, option, value in url.socket_options:
        with contextlib.suppress(OSError):  # a Unix socket knows none of them
            link.setsockopt(level, option, value)
