"""The credentials of a request: an API key, a dashboard session or a read token; and the client's address."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from starlette.types import Scope

from app.api.http.headers.cookies import cookie_of
from app.api.http.headers.fields import lines_of

COOKIE = "checkout_session"
READ_PARAMETER = "read_token"
"""The query parameter for a read token: a browser's EventSource sends no header."""

_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")  # As `Sessions.sign_in` makes them.
_BEARER = re.compile(r"[Bb]earer +(\S+)")


def bearer_of(scope: Scope) -> str | None:
    """Return the bearer token of a request's one Authorization header, or None."""
    given = lines_of(scope, b"authorization")
    match = _BEARER.fullmatch(given[0].strip()) if len(given) == 1 else None
    return match[1] if match else None


def session_of(scope: Scope) -> str | None:
    """Return the session in a request's cookie, or None; text of any other form is no session."""
    value = cookie_of(lines_of(scope, b"cookie"), COOKIE)
    return value if value is not None and _SESSION.fullmatch(value) else None


def take_read_token(scope: Scope) -> str | None:
    """Remove the read token from a request's query and return it, so that nothing can log it.

    Empty if there are several: none of them counts.
    """
    mark = f"{READ_PARAMETER}=".encode()
    parts = scope["query_string"].split(b"&")
    found = [part[len(mark) :] for part in parts if part.startswith(mark)]
    if not found:
        return None
    scope["query_string"] = b"&".join(part for part in parts if not part.startswith(mark))
    return unquote_plus(found[0].decode("latin-1")) if len(found) == 1 else ""


def address_of(scope: Scope) -> str | None:
    """Return the client's address, or the proxy's if that is not trusted to name the client."""
    client = scope.get("client")
    return client[0] if client else None
