"""Reads DATABASE_URL, once: every room that needs a part of it calls this.

sqlite:///./checkout.db                                     a file, below the working directory
sqlite:////data/checkout.db                                 a file, by its absolute path
postgresql://user:password@host:5432/shop?sslmode=require   a server, as libpq and hosting companies write it
postgresql://user:password@host-a,host-b/shop               several hosts: the one that accepts writes is found
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from app.settings.database_url import FORMS, DatabaseUrlError, Host, PostgresUrl, SqliteUrl
from app.settings.libpq_parameters import LibpqParameters

_POSTGRES = re.compile(r"postgres(ql)?(\+\w+)?", re.IGNORECASE)
_SQLITE = re.compile(r"sqlite(\+\w+)?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,255}|[0-9A-Fa-f:.]+(%[\w.-]+)?|/[^,]*")


def parse_database_url(url: str) -> SqliteUrl | PostgresUrl:
    """Return what a URL names. White space around it is ignored. Raise `DatabaseUrlError`."""
    url = url.strip()
    if url[:1] in "\"'`" and url:
        raise DatabaseUrlError(f"is in quotes: write it without them, such as {FORMS}.")
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
            "needs three slashes before a SQLite file's path, four before an absolute one: "
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
        raise DatabaseUrlError("contains a #: if it is meant, write it as %23.")
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    path, _, query = behind.partition("?")
    taken = LibpqParameters(query)
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
