"""libpq's parameters in a PostgreSQL URL, after its `?`: each is used, or refused by its name."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from urllib.parse import quote, unquote, urlencode

from app.settings.database_url import (
    MAX_CONNECT_SECONDS,
    SYSTEM_ROOTS,
    TLS_MODES,
    DatabaseUrlError,
    Host,
    PostgresUrl,
)

_NAME = re.compile(r"[A-Za-z][A-Za-z_]{1,40}")


class LibpqParameters:
    """The parameters of one URL."""

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
        """Remove a parameter and return it; an empty one counts as absent."""
        return self._given.pop(name, "")

    def onto(
        self, *, hosts: tuple[Host, ...], user: str | None, password: str | None, database: str | None
    ) -> PostgresUrl:
        """Return the URL with all remaining parameters. Raise `DatabaseUrlError` for one that can't be used."""
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
        """The driver can't bind its password to the TLS channel; a verified certificate is as good."""
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
        """Remove a parameter that changes nothing here; raise `DatabaseUrlError` for one that would."""
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
"""libpq parameters that make no difference to this driver, and the values for which that holds."""
