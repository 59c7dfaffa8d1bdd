"""The list: totals, plots, what needs attention, and a page of sagas."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of
from app.api.http.parameters import saga_cursor
from app.api.middleware.proxies.base_path import link
from app.api.middleware.route_rights import requires
from app.api.schemas.outcome import with_timeout
from app.checkout.presentation import subject
from app.dashboard import plots
from app.dashboard.pages.page_route import PageRoute
from app.dashboard.rendering import here_of, page
from app.dashboard.search import AGES, Search
from app.operations.saga_view import SagaView
from app.saga.model.attention import sentence
from app.saga.model.status import FINAL, SagaStatus

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PAGE_SIZE = 25
STUCK_SHOWN = 5
PLOTS_TIMEOUT_SECONDS = 2.0


@router.get("/")
@requires(Scope.READ)
async def list_page(request: Request, search: Annotated[Search, Query()]) -> Response:
    """Show the totals, and a list of sagas."""
    service, caller, settings = service_of(request), caller_of(request), settings_of(request)
    now = service.now()
    if search.saga_id and await service.reader.get(search.saga_id, caller=caller) is not None:
        return RedirectResponse(link(f"/dashboard/sagas/{search.saga_id}"), 303)
    # Taken before the list is read: what changes after it is notified.
    mark = service.changes.version if service.changes is not None else ""
    found: dict[str, SagaView] = {}
    for wanted in search.wanted(caller, now):
        reading = service.reader.list_sagas(wanted, before=search.before, limit=PAGE_SIZE + 1)
        found |= {one.saga.id: one for one in await with_timeout(reading, settings.storage_timeout_seconds)}
    views = [found[saga_id] for saga_id in sorted(found, reverse=True)]
    stuck = await _stuck(request) if search.status is not SagaStatus.NEEDS_ATTENTION else []
    counts, drawn = await _figures(request, search)
    return page(
        request,
        "list.html",
        now=now,
        search=search,
        mark=mark,
        ages=AGES,
        steps=[step.name for step in service.starter.definition],
        rows=[_row(view) for view in views[:PAGE_SIZE]],
        older=search.url(cursor=saga_cursor(views[PAGE_SIZE - 1].saga.id))
        if len(views) > PAGE_SIZE
        else None,
        stuck=[_row(view) for view in stuck],
        counts=counts,
        plots=drawn,
        here=here_of(request),
    )


async def _stuck(request: Request) -> list[SagaView]:
    """Return the newest sagas that need attention."""
    service, caller = service_of(request), caller_of(request)
    wanted = Search(status=SagaStatus.NEEDS_ATTENTION).wanted(caller, service.now())[0]
    storage_timeout = settings_of(request).storage_timeout_seconds
    return await with_timeout(service.reader.list_sagas(wanted, limit=STUCK_SHOWN), storage_timeout)


async def _figures(
    request: Request, search: Search
) -> tuple[dict[str, int], tuple[plots.Outcomes, plots.Durations] | None]:
    """Return the counts by status and the plots; None if they can't be read soon."""
    service, caller = service_of(request), caller_of(request)
    if service.statistics is None:
        return {}, None
    whose = None if caller.all_tenants else caller.tenant
    counts = {status.value: n for status, n in (await service.statistics.unfinished(caller=whose)).items()}
    span, step = plots.SPANS[search.span]
    try:
        async with asyncio.timeout(PLOTS_TIMEOUT_SECONDS):
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
        "started": view.created_at,
        "ended": state.finished_at,
        "step": None if blocks or view.unreadable else step,
        "why": why,
    }
