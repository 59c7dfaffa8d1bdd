"""Who asks, and whether they may: before a route hears of a request.

While the service has no keys, whoever reaches it may do everything, so it answers on loopback alone
(see `CHECKOUT_ALLOW_OPEN`). From the first key on, each request needs one: `Authorization: Bearer ck_…`.

Every route has a row in `RIGHTS`. What has none is for operators of everything alone, so that a new
route that forgets its row is closed, not open.

Who has signed in to the page is known by a cookie. It counts for reading, and for the page's own forms,
which carry a proof that they were sent from there; no other request that acts is taken with a cookie.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_plus, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.keys import Keys
from app.access.principal import ANONYMOUS, Principal
from app.access.read_tokens import PREFIX as RT
from app.access.read_tokens import ReadTokens
from app.access.scopes import Scope as Right
from app.access.unknown_credentials import TooManyUnknownCredentials
from app.api.context import AppContext, count_problem
from app.api.http.cookies import cookie_of
from app.api.http.long_lived import LastingAnswers
from app.api.middleware.base_path import link
from app.api.middleware.forwarded import through_proxy
from app.api.problems.problem import Problem
from app.saga.model.errors import LogUnavailable
from app.values.card_numbers import holds_card_number

COOKIE = "checkout_session"
SIGN_IN = "/dashboard/sign-in"
METRICS = "/metrics"
_PAGES = re.compile("/|/dashboard(/.*)?")
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")  # As `Sessions.sign_in` makes them.
_BEARER = re.compile(r"[Bb]earer +(\S+)")
READABLE = re.compile(r"/sagas/([^/]+)(?:/events)?")
PARAMETER = "read_token"
"""The query's parameter for a read token: a browser's EventSource sends no header."""

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="checkout"'}


@dataclass(frozen=True, slots=True)
class Row:
    """Who may send `methods` to `path`: None for `right` is everybody, key or not."""

    methods: frozenset[str]
    path: re.Pattern[str]
    right: Right | None
    everyone: bool = False

    def fits(self, method: str, path: str) -> bool:
        """Whether the row is this request's."""
        return method in self.methods and self.path.fullmatch(path) is not None


def _row(methods: str, path: str, right: Right | None, *, everyone: bool = False) -> Row:
    return Row(frozenset(methods.split()), re.compile(path), right, everyone)


_READING = "GET HEAD OPTIONS"
RIGHTS = (
    _row(_READING, "/livez|/readyz|/openapi.json|/docs|/problems/.*", None),
    _row(_READING, METRICS, Right.READ),
    _row("POST OPTIONS", "/checkout", Right.CHECKOUT),
    _row(_READING, "/sagas(/[^/]*(/events)?)?", Right.READ),
    _row(_READING, "/events", Right.READ),
    _row(_READING, "/webhooks(/deliveries)?", Right.OPERATE, everyone=True),
    _row("POST", "/webhooks/([^/]*/enable|deliveries/[^/]*/redeliver)", Right.OPERATE, everyone=True),
    _row("POST", "/sagas/[^/]*/read-token", Right.READ),
    _row("POST", "/sagas/[^/]*/(cancel|retry|resolve)", Right.OPERATE),
    _row("GET HEAD OPTIONS POST", "/dashboard/sign-(in|out)", None),
    _row(_READING, "/dashboard/static/[^/]*", None),
    _row(_READING, "/(dashboard/(live|sagas/[^/]*))?", Right.READ),
    _row("POST", "/dashboard/sagas/[^/]*/[^/]*", Right.OPERATE),
    _row("GET HEAD OPTIONS POST", "/keys(/[^/]*/revoke)?", Right.KEYS, everyone=True),
)


class Authentication:
    """Wraps the routes: puts the caller where `caller_of` finds it, or answers 401 or 403."""

    def __init__(self, app: ASGIApp, *, allow_open: bool, public_metrics: bool) -> None:
        self._app = app
        self._allow_open = allow_open
        self._public_metrics = public_metrics
        self._lasting = LastingAnswers((Problem, TooManyUnknownCredentials, _NotSignedIn))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service: AppContext | None = getattr(scope["app"].state, "service", None) if "app" in scope else None
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read_token = _taken_out(scope) if scope["query_string"] else None
        if service is None or service.keys is None:
            await self._app(scope, receive, send)
            return
        try:
            scope["state"]["caller"] = await self._admit(scope, service, service.keys, read_token)
        except _NotSignedIn:
            await _to_sign_in(scope)(scope, receive, send)
            return
        except (Problem, LogUnavailable, TooManyUnknownCredentials) as error:
            refusal = error if isinstance(error, Problem) else _refusal(error)
            count_problem(Request(scope), refusal.name)
            await refusal.response(scope["state"]["request_id"])(scope, receive, send)
            return
        row = right_of(scope["method"], scope["path"])
        if scope["method"] == "POST" or (row is not None and row.right is None):  # nothing that lasts
            await self._app(scope, receive, send)
            return
        keys = service.keys

        async def look_again() -> None:
            await self._admit(scope, service, keys, read_token, fresh=True)

        who = (
            *Headers(scope=scope).getlist("authorization"),
            session_of(scope) or "",
            read_token,
            scope["path"],
        )
        refused = await self._lasting.answer(
            self._app, scope, receive, send, who=who, look=look_again, seconds=keys.cache_seconds
        )
        if refused is not None:
            problem = (
                refused if isinstance(refused, Problem) else Problem("unauthenticated", headers=_CHALLENGE)
            )
            await problem.response(scope["state"]["request_id"])(scope, receive, send)

    async def _admit(
        self, scope: Scope, service: AppContext, keys: Keys, read_token: str | None, *, fresh: bool = False
    ) -> Principal:
        """Return who asks; raise a problem where they may not, `_NotSignedIn` where they may sign in.

        `fresh` ignores the caches.
        """
        row = right_of(scope["method"], scope["path"])
        if (row is not None and row.right is None) or (scope["path"] == METRICS and self._public_metrics):
            return ANONYMOUS
        stale_if_error = scope["path"] == METRICS  # so that an alert can say that the database is away
        if not await keys.required(fresh=fresh, stale_if_error=stale_if_error):
            if not self._allow_open and _from_outside(scope):
                raise Problem("keys_required")
            return ANONYMOUS
        page = _PAGES.fullmatch(scope["path"]) is not None
        given, sessions = Headers(scope=scope).getlist("authorization"), service.sessions
        bearer = bearer_of(scope)
        if bearer is not None and bearer.startswith(RT) and read_token is None:
            read_token = bearer
        if read_token is not None and (not given or read_token is bearer):
            return await _reader(scope, service.read_tokens, read_token, fresh=fresh)
        if not given and sessions is not None and (page or scope["method"] == "GET"):
            session = session_of(scope)
            caller = await sessions.authenticate(session, address=address_of(scope)) if session else None
        else:
            address = address_of(scope)
            caller = (
                await keys.authenticate(bearer, address=address, fresh=fresh, stale_if_error=stale_if_error)
                if bearer is not None
                else None
            )
        if caller is None and page and not given:
            raise _NotSignedIn
        if caller is None:
            raise Problem("unauthenticated", headers=_CHALLENGE)
        right, everyone = (row.right, row.everyone) if row else (Right.OPERATE, True)
        if right is not None and not caller.has_scope(right):
            raise Problem("forbidden", f"This needs a key with the scope `{right}`. Nothing was changed.")
        if everyone and not caller.all_tenants:
            raise Problem(
                "forbidden",
                "This needs a key that sees everyone's sagas (`everyone`); yours sees its own caller's. "
                "Nothing was changed.",
            )
        return caller


async def _reader(scope: Scope, tokens: ReadTokens | None, text: str, *, fresh: bool) -> Principal:
    """Return who reads one saga with a token; raise a problem where the token isn't for just this."""
    match = READABLE.fullmatch(scope["path"]) if scope["method"] == "GET" else None
    caller = (
        await tokens.authenticate(text, match[1], address=address_of(scope), fresh=fresh)
        if match and tokens is not None
        else None
    )
    if caller is None:
        raise Problem(
            "unauthenticated",
            "The read token is not for this request, or has ended. "
            "Get another with POST /sagas/{id}/read-token, from where the API key is.",
            headers=_CHALLENGE,
        )
    return caller


def _taken_out(scope: Scope) -> str | None:
    """Take the read token out of a request's query and return it, so that nothing behind can write it down.

    Empty where there are several, which none of them is.
    """
    mark = f"{PARAMETER}=".encode()
    parts = scope["query_string"].split(b"&")
    found = [part[len(mark) :] for part in parts if part.startswith(mark)]
    if not found:
        return None
    scope["query_string"] = b"&".join(part for part in parts if not part.startswith(mark))
    return unquote_plus(found[0].decode("latin-1")) if len(found) == 1 else ""


def bearer_of(scope: Scope) -> str | None:
    """Return what a request's one Authorization header bears, or None."""
    given = Headers(scope=scope).getlist("authorization")
    match = _BEARER.fullmatch(given[0].strip()) if len(given) == 1 else None
    return match[1] if match else None


@lru_cache(maxsize=1024)
def right_of(method: str, path: str) -> Row | None:
    """Return the row of a request, or None where it has none."""
    return next((row for row in RIGHTS if row.fits(method, path)), None)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own; a name other than localhost isn't taken for one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def session_of(scope: Scope) -> str | None:
    """Return the text of the session that a request's cookie holds, if it has one; another form is nobody's session."""
    value = cookie_of(Headers(scope=scope).getlist("cookie"), COOKIE)
    return value if value is not None and _SESSION.fullmatch(value) else None


def address_of(scope: Scope) -> str | None:
    """Return where a request came from: a client's address, or the proxy's where none is trusted to name it."""
    client = scope.get("client")
    return client[0] if client else None


def _refusal(error: LogUnavailable | TooManyUnknownCredentials) -> Problem:
    return too_many(error) if isinstance(error, TooManyUnknownCredentials) else _AWAY


def too_many(error: TooManyUnknownCredentials) -> Problem:
    """Return the problem for an address that asks with too much that nobody has."""
    return Problem("too_many_unknown_keys", headers={"Retry-After": str(error.seconds)})


class _NotSignedIn(Exception):
    """Somebody looks at a page who has not signed in, or no longer has."""


def _to_sign_in(scope: Scope) -> RedirectResponse:
    query = scope["query_string"].decode("latin-1")
    if holds_card_number(unquote_plus(query)):
        query = ""
    wanted = scope["path"] + (f"?{query}" if query else "") if scope["method"] == "GET" else "/"
    return RedirectResponse(f"{link(SIGN_IN)}?next={quote(wanted, safe='')}", 303)


def _from_outside(scope: Scope) -> bool:
    """Whether the request may be somebody else's than this machine's: what says so wins over what doesn't.

    It came through a proxy, whoever runs that; from an address that isn't loopback; to an address that others
    can reach; or under a name other than this machine's: a page of somebody else's whose name has been made
    to point here (DNS rebinding). A socket file has no address, and whoever may open it is local.
    """
    if through_proxy(scope):
        return True
    client = scope.get("client")
    if client is not None and _own_loopback(client[0]) is False:
        return True
    address = (scope.get("server") or ("", None))[0]
    local = _own_loopback(address)
    if local is None:
        return False
    try:
        name = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname or address
    except ValueError:
        return True
    return not (local and (name == address or is_loopback(name)))


@lru_cache(maxsize=64)
def _own_loopback(address: str) -> bool | None:
    """Whether an address is loopback; None for what is none: a socket file. They are few, and asked often."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return None


_AWAY = Problem(
    "storage_unavailable", "API keys can't be looked up now. Nothing was changed by this request."
)
