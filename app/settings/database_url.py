"""DATABASE_URL, taken apart once: every room that needs a part of it asks here.

    sqlite:///./checkout.db                                     a file, below the working directory
    sqlite:////data/checkout.db                                 a file, by its whole path
    postgresql://user:password@host:5432/shop?sslmode=require   a server, as libpq and hosting companies write it
    postgresql://user:password@host-a,host-b/shop               several hosts: the one that takes writes is found

No error here repeats a value: with a character that nobody percent-encoded, any part of the URL can be the
beginning of its password.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlencode

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


_POSTGRES = re.compile(r"postgres(ql)?(\+\w+)?", re.IGNORECASE)
_SQLITE = re.compile(r"sqlite(\+\w+)?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,255}|[0-9A-Fa-f:.]+(%[\w.-]+)?|/[^,]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z_]{1,40}")


def parse_database_url(url: str) -> SqliteUrl | PostgresUrl:
    """Return what a URL names. Blanks and line ends around it don't count. Raise `DatabaseUrlError`."""
    url = url.strip()
    if url[:1] in "\"'`" and url:
        raise DatabaseUrlError(f"stands in quotes: write it without them, such as {FORMS}.")
    if _CONTROL.search(url):
        raise DatabaseUrlError("contains a line end or another control character: write it on one line.")
    scheme, colon, rest = url.partition("://")
    if colon and _POSTGRES.fullmatch(scheme):
        return _postgres(rest)
    if colon and _SQLITE.fullmatch(scheme):
        return _sqlite(rest)
    raise DatabaseUrlError(f"names neither SQLite nor PostgreSQL: write {FORMS}.")


def _sqlite(rest: str) -> SqliteUrl:
    if not rest.startswith("/"):
        raise DatabaseUrlError(
            "needs three slashes before a SQLite file's path, four before a whole one: "
            "write sqlite:///./checkout.db or sqlite:////data/checkout.db."
        )
    path, mark, _ = rest[1:].partition("?")
    if mark:
        raise DatabaseUrlError(
            "has parameters behind a SQLite file's path, which takes none: remove them, and write a ? of the "
            "path itself as %3F."
        )
    path = unquote(path)
    if path in ("", ":memory:"):
        raise DatabaseUrlError(
            "names no file, and sagas in memory are lost when the process ends: write sqlite:///./checkout.db."
        )
    if _CONTROL.search(path):
        raise DatabaseUrlError("has a control character in a SQLite file's path: write it without one.")
    return SqliteUrl(path=path)


def _postgres(rest: str) -> PostgresUrl:
    cut = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority, behind = rest[:cut], rest[cut:]
    if "@" in behind:
        raise DatabaseUrlError(
            "has an @ behind its host, so a /, ? or # before it is probably part of the password: write each "
            "character of the password that isn't a letter or a digit percent-encoded (/ is %2F, ? is %3F, "
            "# is %23, @ is %40)."
        )
    if "#" in behind:
        raise DatabaseUrlError("contains a #: where it is meant, write it as %23.")
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    path, _, query = behind.partition("?")
    taken = _Parameters(query)
    database = taken.pop("dbname") or taken.pop("database") or unquote(path[1:])
    names = taken.pop("host")
    return taken.onto(
        hosts=_hosts(names or unquote(hosts), taken.pop("port")),
        user=taken.pop("user") or unquote(user) or None,
        password=taken.pop("password") or unquote(password) or None,
        database=database or None,
    )


def _hosts(text: str, ports: str) -> tuple[Host, ...]:
    found = [_host(one) for one in text.split(",")]
    if ports:
        given = [_port(one) for one in ports.split(",")]
        if len(given) not in (1, len(found)):
            raise DatabaseUrlError("has more or fewer ports than hosts: give one port, or one for each host.")
        given = given * len(found) if len(given) == 1 else given
        found = [Host(name=host.name, port=port) for host, port in zip(found, given, strict=True)]
    return tuple(found)


def _host(text: str) -> Host:
    port = ""
    if text.startswith("["):
        name, end, port = text[1:].partition("]")
        if not end or (port and not port.startswith(":")):
            raise DatabaseUrlError("has an IPv6 address that isn't closed: write it as [::1]:5432.")
        port = port[1:]
    elif text.startswith("/") or text.count(":") > 1:
        name = text
    else:
        name, _, port = text.partition(":")
    if name and not _HOST.fullmatch(name):
        raise DatabaseUrlError(
            f"has a host that isn't a name or an address: write {FORMS}, with every character of the password "
            "that isn't a letter or a digit percent-encoded."
        )
    return Host(name=name or None, port=_port(port))


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65_536:
        raise DatabaseUrlError(
            "has a port that isn't a number from 1 to 65535: write postgresql://user:password@host:5432/database, "
            "with every character of the password that isn't a letter or a digit percent-encoded."
        )
    return int(text)


class _Parameters:
    """The parameters behind the ?, which are libpq's: each is taken, or refused by its name."""

    def __init__(self, query: str) -> None:
        self._given: dict[str, str] = {}
        for part in filter(None, query.split("&")):
            name, mark, value = part.partition("=")
            name = unquote(name)
            if not mark or not _NAME.fullmatch(name):
                raise DatabaseUrlError(
                    "has a part behind its ? that isn't a parameter: write name=value, with a & between two."
                )
            self._given[name] = unquote(value)

    def pop(self, name: str) -> str:
        """Take a parameter; one that is empty counts as not given."""
        return self._given.pop(name, "")

    def onto(
        self, *, hosts: tuple[Host, ...], user: str | None, password: str | None, database: str | None
    ) -> PostgresUrl:
        """Return the URL with everything that is left here."""
        mode = self._tls_mode()
        roots = self.pop("sslrootcert")
        if roots == SYSTEM_ROOTS:
            if mode not in ("", "verify-full"):
                raise DatabaseUrlError("has sslrootcert=system, which needs sslmode=verify-full.")
            mode = "verify-full"
        self._need_no_channel_binding(mode)
        target = self._target()
        files = {name: self.pop(name) for name in ("sslcert", "sslkey", "sslcrl")}
        if roots and roots != SYSTEM_ROOTS:
            files["sslrootcert"] = roots
        files = {name: path for name, path in files.items() if path}
        driver = {name: self.pop(name) for name in _DRIVERS}
        driver |= files | ({"sslmode": mode} if mode else {})
        name, fallback = self.pop("application_name"), self.pop("fallback_application_name")
        settings = {"application_name": name or fallback, "options": self.pop("options")}
        found = PostgresUrl(
            hosts=hosts,
            user=user,
            password=password,
            database=database,
            target=target,
            tls_mode=mode or None,
            tls_roots=roots or None,
            tls_files=files,
            driver_query=urlencode({key: value for key, value in driver.items() if value}, quote_via=quote),
            server_settings={key: value for key, value in settings.items() if value},
            connect_seconds=self._connect_seconds(),
            socket_options=self._socket_options(),
        )
        for name in list(self._given):
            self._ignore(name)
        return found

    def _tls_mode(self) -> str:
        mode, short = self.pop("sslmode"), self.pop("ssl")
        mode = mode or short
        if mode and mode not in TLS_MODES:
            raise DatabaseUrlError(f"has an sslmode that isn't one of {', '.join(TLS_MODES)}.")
        return mode

    def _need_no_channel_binding(self, mode: str) -> None:
        """The driver can't bind its password to the TLS channel; a proven certificate keeps others out as well."""
        wanted = self.pop("channel_binding")
        if wanted == "require" and mode != "verify-full":
            raise DatabaseUrlError(
                "has channel_binding=require, which this service's driver can't do: write "
                "sslmode=verify-full&sslrootcert=system in its place, so that the server's certificate is proven, "
                "or remove it."
            )
        if wanted not in ("", "require", "prefer", "disable"):
            raise DatabaseUrlError("has a channel_binding that isn't one of disable, prefer and require.")

    def _target(self) -> str:
        target = self.pop("target_session_attrs")
        if target in ("", "any", "read-write"):
            return "read-write"
        if target == "primary":
            return target
        raise DatabaseUrlError(
            "has a target_session_attrs that can't be used: this service writes, so it must be read-write, primary "
            "or left out."
        )

    def _number(self, name: str) -> int | None:
        text = self.pop(name)
        if not text:
            return None
        if not re.fullmatch(r"-?[0-9]{1,9}", text):
            raise DatabaseUrlError(f"has a {name} that isn't a whole number.")
        return int(text)

    def _connect_seconds(self) -> float | None:
        seconds = self._number("connect_timeout")
        return None if seconds is None or seconds <= 0 else float(min(seconds, MAX_CONNECT_SECONDS))

    def _socket_options(self) -> tuple[tuple[int, int, int], ...]:
        wanted = self._number("keepalives")
        tcp = socket.IPPROTO_TCP
        found = []
        for name, option in (
            ("keepalives_idle", "TCP_KEEPIDLE"),
            ("keepalives_interval", "TCP_KEEPINTVL"),
            ("keepalives_count", "TCP_KEEPCNT"),
            ("tcp_user_timeout", "TCP_USER_TIMEOUT"),
        ):
            number = self._number(name)
            if number and number > 0 and hasattr(socket, option):
                found.append((tcp, getattr(socket, option), number))
        if wanted is None and not found:
            return ()
        return ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(wanted != 0)), *found)

    def _ignore(self, name: str) -> None:
        """Take a parameter that changes nothing here; raise `DatabaseUrlError` for one that would."""
        value = self._given.pop(name)
        if name not in _CHANGES_NOTHING:
            raise DatabaseUrlError(
                f"has the parameter {name}, which isn't one of PostgreSQL's that this service knows: remove it. "
                f"(A setting of the server's is given as options=-c%20{name}%3D….)"
            )
        if value and not _CHANGES_NOTHING[name](value):
            raise DatabaseUrlError(f"has a {name} that this service's driver can't keep: remove it.")


_DRIVERS = (
    "passfile",
    "service",
    "sslpassword",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "krbsrvname",
    "gsslib",
)


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda value: value.lower() in values


_CHANGES_NOTHING: dict[str, Callable[[str], bool]] = {
    "gssencmode": _one_of("disable", "prefer"),
    "gssdelegation": _one_of("0"),
    "client_encoding": _one_of("utf8", "utf-8", "unicode", "auto"),
    "load_balance_hosts": _one_of("disable", "random"),
    "replication": _one_of("false", "off", "no", "0"),
    "sslcompression": _one_of("0"),
    "sslcertmode": _one_of("allow", "disable"),
    "sslsni": _one_of("1"),
    "requiressl": _one_of("0"),
}
"""Parameters of libpq's under which this driver does the same anyway, and the values for which that is so."""
