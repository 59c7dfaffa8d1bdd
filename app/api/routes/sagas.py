"""Reading sagas: one, with its trail, or a page of them."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of
from app.api.http import query
from app.api.http.etag import etag_of, matches
from app.api.http.json_encoding import encode
from app.api.http.prefer import preference
from app.api.http.saga_id import known_form
from app.api.middleware.route_rights import requires
from app.api.problems.problem import Problem
from app.api.schemas.outcome import status_headers, wait_for, with_timeout
from app.api.schemas.saga_body import saga_body
from app.operations.saga_view import SagaView
from app.saga.model.status import SagaStatus
from app.saga.ports.queries import SagaFilter

router = APIRouter(tags=["sagas"])

_FILTERS = ("status", "order_id", "customer_id", "created_after", "created_before", "cursor", "limit")
_PRIVATE = "private, no-cache"


def saga_etag(view: SagaView, content: bytes) -> str:
    """Return the tag of a saga's body; its version is the length of the trail."""
    return etag_of(content, view.state.seq)


@router.get("/sagas/{saga_id}")
@requires(Scope.READ, read_token=True)
async def read_saga(request: Request, saga_id: str) -> Response:
    """Read one saga: how it stands, and its trail.

    With `Prefer: wait=N` the answer comes once the saga is finished, or after N seconds. An id that is
    unknown, malformed or another caller's is the same 404.
    """
    service, settings = service_of(request), settings_of(request)
    query.parameters(request)
    known_form(saga_id)
    caller, patience = caller_of(request), settings.storage_patience_seconds
    prefer = preference(request.headers.getlist("prefer"))
    headers = {"Cache-Control": _PRIVATE}
    if prefer.wait:
        seconds = prefer.seconds(0, at_most=settings.max_wait_seconds)
        view = await wait_for(service, saga_id, seconds=seconds, caller=caller, patience=patience)
        headers |= prefer.applied(at_most=settings.max_wait_seconds, can_go_on=False)
    else:
        view = await with_timeout(service.reader.get(saga_id, caller=caller), patience)
    if view is None:
        raise Problem("not_found")
    content = encode(saga_body(view))
    headers |= {"ETag": saga_etag(view, content), **status_headers(view.state.status)}
    if matches(request.headers.getlist("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


@router.get("/sagas")
@requires(Scope.READ)
async def list_sagas(request: Request) -> Response:
    """List sagas, newest first.

    A page that isn't the last has a `next_cursor`: send it as `cursor`, with the same filters, for the
    next one. Sagas that begin meanwhile never shift the pages.
    """
    service, settings = service_of(request), settings_of(request)
    found = query.parameters(request, _FILTERS)
    status = found.get("status") or None
    if status is not None and status not in list(SagaStatus):
        raise query.wrong("status", "wrong_form", f"Give one of {', '.join(SagaStatus)}.")
    caller = caller_of(request)
    wanted = SagaFilter(
        caller=None if caller.all_tenants else caller.tenant,
        status=SagaStatus(status) if status else None,
        order_id=query.text(found, "order_id"),
        customer_id=query.text(found, "customer_id"),
        created_after=query.instant(found, "created_after"),
        created_before=query.instant(found, "created_before"),
    )
    limit = query.count(found, "limit", otherwise=settings.page_size, at_most=settings.max_page_size)
    reading = service.reader.list_sagas(wanted, before=query.before(found), limit=limit + 1)
    views = await with_timeout(reading, settings.storage_patience_seconds)
    page = views[:limit]
    following = query.cursor(page[-1].saga.id) if len(views) > limit else None
    body = {"data": [saga_body(view) for view in page], "next_cursor": following}
    return Response(encode(body), headers={"Cache-Control": _PRIVATE}, media_type="application/json")
