"""What DATABASE_URL names: a SQLite file, or a PostgreSQL database. `database_url_parser` reads it.

No error here repeats a value: if a character isn't percent-encoded, any part of the URL may be the beginning of its
password.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FORMS = "sqlite:///./checkout.db or postgresql://user:password@host:5432/database"
TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SYSTEM_ROOTS = "system"
"""`sslrootcert=system`: the certificates that the machine trusts."""

MAX_CONNECT_SECONDS = 60


class DatabaseUrlError(ValueError):
    """DATABASE_URL can't be used; the sentence names the variable and repeats no part of its value."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"DATABASE_URL {fault}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SqliteUrl:
    """A SQLite file, by its path as the operating system knows it."""

    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """Where a PostgreSQL listens: a name, an address or a socket's folder. None: what PGHOST or PGPORT says."""

    name: str | None
    port: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresUrl:
    """A PostgreSQL database: the hosts in the order to try them, who connects, and how."""

    hosts: tuple[Host, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    target: str = "read-write"
    tls_mode: str | None = None
    tls_roots: str | None = None
    tls_files: Mapping[str, str] = field(default_factory=dict)
    driver_query: str = field(default="", repr=False)
    """What the driver reads for itself, as the query of a URL."""
    server_settings: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float | None = None
    socket_options: tuple[tuple[int, int, int], ...] = ()

    @property
    def place(self) -> str:
        """The hosts, for a sentence."""
        return ", ".join(
            f"{host.name or 'the default host'}{f':{host.port}' if host.port else ''}" for host in self.hosts
        )
