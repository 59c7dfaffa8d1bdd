"""Authenticates each request and checks its rights, before the route runs.

Without keys, everybody may do everything, so the service answers only on loopback (see `CHECKOUT_ALLOW_UNAUTHENTICATED`).
From the first key on, each request needs one: `Authorization: Bearer ck_…`. Each route states what it needs
(`route_rights`).

The dashboard's session is a cookie. It is accepted for reading, and for the dashboard's own forms, which carry a proof
that they come from there. Any other request that changes something needs a key.
"""

from __future__ import annotations

from urllib.parse import quote, unquote_plus

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.keys import Keys
from app.access.principal import ANONYMOUS, Principal
from app.access.read_tokens import PREFIX as RT
from app.access.read_tokens import ReadTokens
from app.access.unknown_credentials import TooManyUnknownCredentials
from app.api.context import AppContext, count_problem
from app.api.http.headers.fields import lines_of
from app.api.http.long_lived import LongLivedAnswers
from app.api.middleware.credentials import address_of, bearer_of, session_of, take_read_token
from app.api.middleware.proxies.base_path import link
from app.api.middleware.proxies.loopback import from_outside
from app.api.middleware.route_rights import Matched, RouteRights, authorize
from app.api.problems.problem import Problem
from app.saga.model.errors import LogUnavailable
from app.values.card_numbers import holds_card_number

SIGN_IN = "/dashboard/sign-in"
METRICS = "/metrics"
_PAGES = "/dashboard"

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="checkout"'}


class Authentication:
    """Wraps the routes: puts the caller where `caller_of` finds it, or answers 401 or 403."""

    def __init__(self, app: ASGIApp, *, allow_unauthenticated: bool, public_metrics: bool) -> None:
        self._app = app
        self._allow_open = allow_unauthenticated
        self._public_metrics = public_metrics
        self._long_lived = LongLivedAnswers((Problem, TooManyUnknownCredentials, _NotSignedIn))
        self._rights: RouteRights | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service: AppContext | None = getattr(scope["app"].state, "service", None) if "app" in scope else None
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read_token = take_read_token(scope) if scope["query_string"] else None
        if service is None or service.keys is None:
            await self._app(scope, receive, send)
            return
        matched = self._matched(scope)
        try:
            scope["state"]["caller"] = await self._admit(scope, matched, service, service.keys, read_token)
        except _NotSignedIn:
            await _to_sign_in(scope)(scope, receive, send)
            return
        except (Problem, LogUnavailable, TooManyUnknownCredentials) as error:
            refusal = error if isinstance(error, Problem) else _refusal(error)
            count_problem(Request(scope), refusal.name)
            await refusal.response(scope["state"]["request_id"])(scope, receive, send)
            return
        if scope["method"] == "POST" or matched.rights.public:  # a short answer
            await self._app(scope, receive, send)
            return
        keys = service.keys

        async def check_again() -> None:
            await self._admit(scope, matched, service, keys, read_token, fresh=True)

        who = (
            *lines_of(scope, b"authorization"),
            session_of(scope) or "",
            read_token,
            scope["path"],
        )
        refused = await self._long_lived.answer(
            self._app, scope, receive, send, who=who, check=check_again, seconds=keys.cache_seconds
        )
        if refused is not None:
            problem = (
                refused if isinstance(refused, Problem) else Problem("unauthenticated", headers=_CHALLENGE)
            )
            await problem.response(scope["state"]["request_id"])(scope, receive, send)

    def _matched(self, scope: Scope) -> Matched:
        if self._rights is None:  # by now the application has all its routes
            self._rights = RouteRights(scope["app"].routes)
        return self._rights.of(scope["method"], scope["path"])

    async def _admit(
        self,
        scope: Scope,
        matched: Matched,
        service: AppContext,
        keys: Keys,
        read_token: str | None,
        *,
        fresh: bool = False,
    ) -> Principal:
        """Return who sends a request. Raise a problem if they may not, or `_NotSignedIn` if they can sign in.

        `fresh` bypasses the caches.
        """
        rights = matched.rights
        if rights.public or (scope["path"] == METRICS and self._public_metrics):
            return ANONYMOUS
        if not await keys.required(fresh=fresh, stale_if_error=rights.stale_if_error):
            if not self._allow_open and from_outside(scope):
                raise Problem("keys_required")
            return ANONYMOUS
        page = scope["path"] in {"/", _PAGES} or scope["path"].startswith(f"{_PAGES}/")
        given, sessions = lines_of(scope, b"authorization"), service.sessions
        bearer = bearer_of(scope)
        if bearer is not None and bearer.startswith(RT) and read_token is None:
            read_token = bearer
        if read_token is not None and (not given or read_token is bearer):
            return await _reader(scope, matched, service.read_tokens, read_token, fresh=fresh)
        if not given and sessions is not None and (page or scope["method"] == "GET"):
            session = session_of(scope)
            caller = await sessions.authenticate(session, address=address_of(scope)) if session else None
        else:
            address = address_of(scope)
            caller = (
                await keys.authenticate(
                    bearer, address=address, fresh=fresh, stale_if_error=rights.stale_if_error
                )
                if bearer is not None
                else None
            )
        if caller is None and page and not given:
            raise _NotSignedIn
        if caller is None:
            raise Problem("unauthenticated", headers=_CHALLENGE)
        authorize(caller, rights)
        return caller


async def _reader(
    scope: Scope, matched: Matched, tokens: ReadTokens | None, text: str, *, fresh: bool
) -> Principal:
    """Return the principal of a read token. Raise a problem if the token isn't for this request."""
    fits = matched.rights.read_token and scope["method"] == "GET"
    caller = (
        await tokens.authenticate(
            text, matched.path_params["saga_id"], address=address_of(scope), fresh=fresh
        )
        if fits and tokens is not None
        else None
    )
    if caller is None:
        raise Problem(
            "unauthenticated",
            "The read token is not for this request, or has expired. "
            "Get another with POST /sagas/{id}/read-token, from the server that has the API key.",
            headers=_CHALLENGE,
        )
    return caller


def _refusal(error: LogUnavailable | TooManyUnknownCredentials) -> Problem:
    return too_many(error) if isinstance(error, TooManyUnknownCredentials) else _UNAVAILABLE


def too_many(error: TooManyUnknownCredentials) -> Problem:
    """Return the problem for an address that sends too many unknown keys."""
    return Problem("too_many_unknown_keys", headers={"Retry-After": str(error.seconds)})


class _NotSignedIn(Exception):
    """A page was requested without a session, or with one that has ended."""


def _to_sign_in(scope: Scope) -> RedirectResponse:
    query = scope["query_string"].decode("latin-1")
    if holds_card_number(unquote_plus(query)):
        query = ""
    wanted = scope["path"] + (f"?{query}" if query else "") if scope["method"] == "GET" else "/"
    return RedirectResponse(f"{link(SIGN_IN)}?next={quote(wanted, safe='')}", 303)


_UNAVAILABLE = Problem(
    "storage_unavailable", "API keys can't be looked up now. Nothing was changed by this request."
)
