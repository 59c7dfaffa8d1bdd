"""Signing in to the page with an API key, and out."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.access.unknown_credentials import TooManyUnknownCredentials
from app.api.context import service_of
from app.api.middleware.authentication import SIGN_IN, too_many
from app.api.middleware.credentials import COOKIE, address_of, session_of
from app.api.middleware.proxies.base_path import link
from app.api.middleware.route_rights import public
from app.api.problems.problem import Problem
from app.dashboard.guard import form_of
from app.dashboard.pages.page_route import PageRoute
from app.dashboard.rendering import page

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/dashboard/sign-in")
@public
async def sign_in_page(request: Request, wanted: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Ask for a key."""
    return page(request, "sign_in.html", now=service_of(request).now(), next=_local(wanted), wrong=False)


@router.post("/dashboard/sign-in")
@public
async def sign_in(request: Request) -> Response:
    """Sign in with a key. Attempts are limited only for what they cost: 256 random bits can't be guessed."""
    service = service_of(request)
    if service.sessions is None:
        raise Problem("not_found")
    form = await form_of(request)
    wanted = _local(form.get("next", "/"))
    try:
        token = await service.sessions.sign_in(form.get("key", "").strip(), address=address_of(request.scope))
    except TooManyUnknownCredentials as error:
        raise too_many(error) from None
    if token is None:
        return page(request, "sign_in.html", status=403, now=service.now(), next=wanted, wrong=True)
    answer = RedirectResponse(link(wanted), 303)
    answer.set_cookie(
        COOKIE,
        token,
        path=link("") or "/",
        max_age=round(service.sessions.lifetime.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/dashboard/sign-out")
@public
async def sign_out(request: Request) -> Response:
    """End the session, in the database too."""
    service, session = service_of(request), session_of(request.scope)
    await form_of(request)
    if session is not None and service.sessions is not None:
        with suppress(TooManyUnknownCredentials):
            await service.sessions.sign_out(session, address=address_of(request.scope))
    answer = RedirectResponse(link(SIGN_IN), 303)
    answer.delete_cookie(
        COOKIE, path=link("") or "/", httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )
    return answer


def _local(url: str) -> str:
    """Return a path of this site; anything else is replaced by the list."""
    return url if url.startswith("/") and not url.startswith(("//", "/\\")) and url.isprintable() else "/"
