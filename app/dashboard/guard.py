"""Who looks at the page, and whether a form was sent from it.

A form counts only where the browser says that this very site sent it (Fetch Metadata; where it says
nothing, Origin), and where it carries the token of the session.
"""

from __future__ import annotations

import hmac
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from app.access.sessions import form_token
from app.api.context import settings_of
from app.api.http.card_number_check import refuse_card_numbers_in_fields
from app.api.http.uploads import read_body
from app.api.middleware.credentials import session_of
from app.api.problems.problem import Problem

_FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 20
_DEFAULT_PORTS = {"http": 80, "https": 443}


def token_of(request: Request) -> str:
    """Return what this page's forms carry; empty without a session."""
    session = session_of(request.scope)
    return form_token(session) if session else ""


async def form_of(request: Request) -> dict[str, str]:
    """Return a form's fields; raise a problem for one that this site's own page has not sent."""
    if not _sent_from_here(request.scope):
        raise Problem(
            "forbidden", "This form was not sent from the page itself: open the page, and send it there."
        )
    if request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
        raise Problem("unsupported_media_type")
    content = await read_body(request, max_bytes=settings_of(request).max_body_bytes)
    try:
        found = parse_qs(
            content.decode(), keep_blank_values=True, strict_parsing=bool(content), max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise Problem("invalid_request", "The form can't be read.") from None
    fields = {name: values[0].replace("\r\n", "\n") for name, values in found.items() if len(values) == 1}
    token = fields.pop("token", "").encode()  # bytes: text that isn't ASCII can't be compared
    if not hmac.compare_digest(token, token_of(request).encode()):
        raise Problem(
            "forbidden", "The page is older than your session: open it again, and send the form there."
        )
    refuse_card_numbers_in_fields(fields.items(), place="field")
    return fields


def _sent_from_here(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origins = headers.getlist("origin")
    hosts = (headers.get("host"), headers.get("x-forwarded-host"))  # no form can set either
    return len(origins) == 1 and any(_same_origin(origins[0], host, scope["scheme"]) for host in hosts)


def _same_origin(origin: str, host: str | None, scheme: str) -> bool:
    """Whether an Origin names the host that the request was sent to; a port that isn't named is its scheme's own.

    `scheme` is what reached this process. A proxy may have ended TLS without saying so, so that plain http
    fits both; https fits https alone.
    """
    if host is None or "@" in origin + host:
        return False
    try:
        here, there = urlsplit(origin), urlsplit(f"//{host}")
        ports = here.port, there.port
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(here.scheme)
    if default is None or here.hostname is None or there.path:
        return False
    if scheme == "https" and here.scheme != "https":
        return False
    return (here.hostname, ports[0] or default) == (there.hostname, ports[1] or default)
