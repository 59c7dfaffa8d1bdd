"""The page's routes: the list, a saga, what is live, and signing in and out."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import wraps

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from app.access.scopes import Scope
from app.access.unknown_credentials import TooManyUnknownCredentials
from app.api.context import caller_of, service_of, settings_of
from app.api.http import query
from app.api.http.json_encoding import Body, encode
from app.api.http.saga_id import known_form
from app.api.middleware.authentication import SIGN_IN, too_many
from app.api.middleware.base_path import base_path, link
from app.api.middleware.credentials import COOKIE, address_of, session_of
from app.api.middleware.route_rights import public, requires
from app.api.problems.problem import Problem
from app.api.routes.operate import carry_out
from app.api.schemas.operator_requests import Operation, Resolution
from app.api.schemas.outcome import with_timeout
from app.api.schemas.saga_body import saga_body
from app.checkout.presentation import subject
from app.dashboard import plots
from app.dashboard.guard import form_of
from app.dashboard.rendering import page, problem_page, static
from app.dashboard.search import AGES, Search
from app.dashboard.timeline import timeline
from app.dashboard.words import now_is, stuck_steps
from app.operations.operator_rules import RULES, OperatorVerb
from app.operations.saga_view import SagaView
from app.operations.subscribers import TooManySubscribers
from app.saga.model.attention import sentence
from app.saga.model.errors import LogUnavailable
from app.saga.model.status import FINAL, SagaStatus

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 25
STUCK_SHOWN = 5
PLOTS_PATIENCE_SECONDS = 2.0
_MEDIA = {".svg": "image/svg+xml", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_YEAR = "public, max-age=31536000, immutable"

_TURNING = re.compile(r"[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

Route = Callable[..., Awaitable[Response]]


def _a_page(route: Route) -> Route:
    """Have a route's problems shown as a page."""

    @wraps(route)
    async def shown(request: Request, **path: str) -> Response:
        try:
            return await route(request, **path)
        except (Problem, LogUnavailable) as error:
            problem = error if isinstance(error, Problem) else Problem("storage_unavailable")
            back = f"/dashboard/sagas/{path['saga_id']}" if request.method == "POST" and path else "/"
            return problem_page(request, problem, now=service_of(request).now(), back=back)

    return shown


@router.get("/")
@requires(Scope.READ)
@_a_page
async def list_page(request: Request) -> Response:
    """Show how everything stands, and a list of sagas."""
    service, caller, settings = service_of(request), caller_of(request), settings_of(request)
    search, now = Search.of(request), service.now()
    if search.saga_id and await service.reader.get(search.saga_id, caller=caller) is not None:
        return RedirectResponse(link(f"/dashboard/sagas/{search.saga_id}"), 303)
    mark = (
        service.changes.version if service.changes is not None else ""
    )  # before the list is read: what follows is told
    found: dict[str, SagaView] = {}
    for wanted in search.wanted(caller, now):
        reading = service.reader.list_sagas(wanted, before=search.before, limit=PAGE_SIZE + 1)
        found |= {one.saga.id: one for one in await with_timeout(reading, settings.storage_patience_seconds)}
    views = [found[saga_id] for saga_id in sorted(found, reverse=True)]
    stuck = await _stuck(request) if search.status is not SagaStatus.NEEDS_ATTENTION else []
    counts, drawn = await _history(request, search)
    return page(
        request,
        "list.html",
        now=now,
        search=search,
        mark=mark,
        ages=AGES,
        steps=[step.name for step in service.starter.definition],
        rows=[_row(view) for view in views[:PAGE_SIZE]],
        older=search.url(cursor=query.cursor(views[PAGE_SIZE - 1].saga.id))
        if len(views) > PAGE_SIZE
        else None,
        stuck=[_row(view) for view in stuck],
        counts=counts,
        plots=drawn,
        here=_here(request),
    )


def _here(request: Request) -> str:
    """Return the URL that the service's own paths come behind, as this request has it."""
    return f"{request.url.scheme}://{request.url.netloc}{base_path()}"


async def _stuck(request: Request) -> list[SagaView]:
    """Return the newest sagas that need attention."""
    service, caller = service_of(request), caller_of(request)
    wanted = Search(status=SagaStatus.NEEDS_ATTENTION).wanted(caller, service.now())[0]
    patience = settings_of(request).storage_patience_seconds
    return await with_timeout(service.reader.list_sagas(wanted, limit=STUCK_SHOWN), patience)


async def _history(
    request: Request, search: Search
) -> tuple[dict[str, int], tuple[plots.Outcomes, plots.Durations] | None]:
    """Return the counts by status and the plots; None where they can't be had soon."""
    service, caller = service_of(request), caller_of(request)
    if service.statistics is None:
        return {}, None
    whose = None if caller.all_tenants else caller.tenant
    counts = {status.value: n for status, n in (await service.statistics.unfinished(caller=whose)).items()}
    span, step = plots.SPANS[search.span]
    try:
        async with asyncio.timeout(PLOTS_PATIENCE_SECONDS):
            slices = await service.statistics.buckets(span, step, caller=whose)
    except TimeoutError:
        return counts, None
    drawn = plots.outcomes(slices)
    counts |= {status.value: drawn.by_status[status.value] for status in FINAL}
    return counts, (drawn, plots.durations(slices))


def _row(view: SagaView) -> dict[str, object]:
    state, saga = view.state, view.saga
    blocks = view.attention
    step = state.failure.step if state.failure else (state.current.name if state.current else None)
    if view.unreadable:
        why: str | None = f"Unreadable: {sentence(view.unreadable)}"
    elif blocks:
        why = blocks.message
    else:
        why = state.failure.message if state.failure else None
    return {
        "id": saga.id,
        "status": state.status,
        **subject(saga),
        "begun": view.created_at,
        "ended": state.finished_at,
        "step": None if blocks or view.unreadable else step,
        "why": why,
    }


@router.get("/dashboard/sagas/{saga_id}")
@requires(Scope.READ)
@_a_page
async def saga_page(request: Request, saga_id: str) -> Response:
    """Show one saga: what it waits for, its timeline, its trail, and what can be done about it."""
    service, settings = service_of(request), settings_of(request)
    found = query.parameters(request, ("done",))
    view = await with_timeout(
        service.reader.get(known_form(saga_id), caller=caller_of(request)),
        settings.storage_patience_seconds,
    )
    if view is None:
        raise Problem("not_found")
    body, now = saga_body(view), service.now()
    return page(
        request,
        "saga.html",
        now=now,
        view=view,
        trail=body.trail,
        saga={**subject(view.saga), "id": saga_id},
        state=view.state,
        sentence_now=now_is(view, now),
        line=timeline(view, now),
        stuck_steps=stuck_steps(view),
        seq=view.state.seq,
        at_rest=view.inactive,
        ended=view.state.status in FINAL,
        cancellable=view.state.cancellable and view.cancel is None,
        done=found.get("done") if found.get("done") in set(OperatorVerb) else None,
        raw=_raw(body),
        curl=f"curl {_here(request)}/sagas/{saga_id}",
        keyed=bool(caller_of(request).tenant),
    )


def _raw(body: Body) -> str:
    """Return a body's JSON to be read: what turns the direction of writing, or ends a line, is escaped."""
    text = json.dumps(json.loads(encode(body)), indent=2, ensure_ascii=False)
    return _TURNING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@router.post("/dashboard/sagas/{saga_id}/{action}")
@requires(Scope.OPERATE)
@_a_page
async def act(request: Request, saga_id: str, action: str) -> Response:
    """Do what a person wants done about a saga, and show it."""
    if action not in set(OperatorVerb):
        raise Problem("not_found")
    verb = OperatorVerb(action)
    form = await form_of(request)
    known_form(saga_id)
    seen = form.pop("seen", "")
    if not (seen.isascii() and seen.isdecimal() and len(seen) < 10):
        raise Problem("invalid_request", "The form is not whole: open the page again.")
    given = {name: line for name, value in form.items() if (line := value.replace("\n", " ").strip())}
    form_model = Resolution if RULES[verb].names_step else Operation
    await carry_out(request, verb, saga_id, form_model.of(given), seen={int(seen)})
    return RedirectResponse(link(f"/dashboard/sagas/{saga_id}?done={action}"), 303)


@router.get("/dashboard/live")
@requires(Scope.READ)
async def live(request: Request) -> Response:
    """Send an event whenever something in the list has moved."""
    service, settings = service_of(request), settings_of(request)
    if service.changes is None or service.draining.is_set():
        raise Problem("shutting_down")
    since = query.parameters(request, ("since",)).get("since")
    changes = service.changes.changes(heartbeat_seconds=settings.heartbeat_seconds, since=since)
    return StreamingResponse(
        _frames(changes),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        media_type="text/event-stream",
    )


async def _frames(changes: AsyncIterator[int | None]) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    try:
        async for change in changes:
            yield b": still here\n\n" if change is None else b"event: moved\ndata: %d\n\n" % change
    except TooManySubscribers:
        yield b"event: full\ndata: {}\n\n"


@router.get("/dashboard/static/{name}")
@public
async def read_static(request: Request, name: str) -> Response:
    """Return a style sheet or a script; its URL changes with its bytes."""
    try:
        content, version = static(name)
    except (FileNotFoundError, ValueError, OSError):
        raise Problem("not_found") from None
    suffix = name[name.rfind(".") :]
    if suffix not in _MEDIA:
        raise Problem("not_found")
    lasting = _YEAR if request.query_params.get("v") == version else "no-cache"
    return Response(content, headers={"Cache-Control": lasting}, media_type=_MEDIA[suffix])


@router.get("/dashboard/sign-in")
@public
@_a_page
async def sign_in_page(request: Request) -> Response:
    """Ask for a key."""
    wanted = query.parameters(request, ("next",)).get("next", "/")
    return page(request, "sign_in.html", now=service_of(request).now(), next=_local(wanted), wrong=False)


@router.post("/dashboard/sign-in")
@public
@_a_page
async def sign_in(request: Request) -> Response:
    """Sign in with a key. Tries are limited for what they cost alone: 256 random bits can't be guessed."""
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
@_a_page
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
    """Return a path of this site's; whatever else was given is the list."""
    return url if url.startswith("/") and not url.startswith(("//", "/\\")) and url.isprintable() else "/"
