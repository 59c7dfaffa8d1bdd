"""Reading sagas: one, with its trail, or a page of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of
from app.api.http.headers.etag import matches
from app.api.http.headers.prefer import preference
from app.api.http.json_encoding import encode
from app.api.http.parameters import (
    IfNoneMatch,
    Instant,
    Limit,
    Name,
    Prefer,
    SagaCursor,
    SagaId,
    one_of,
    page_limit,
    saga_cursor,
)
from app.api.http.strict_route import StrictRoute
from app.api.middleware.route_rights import requires
from app.api.openapi.responses import headers, operation_id, problems
from app.api.problems.problem import Problem
from app.api.schemas.outcome import status_headers, wait_for, with_timeout
from app.api.schemas.rendered_sagas import rendered_of
from app.api.schemas.saga_body import SagaBody, SagaPageBody
from app.saga.model.status import SagaStatus
from app.saga.ports.queries import SagaFilter

router = APIRouter(generate_unique_id_function=operation_id, tags=["sagas"], route_class=StrictRoute)

_PRIVATE = "private, no-cache"


@router.get(
    "/sagas/{saga_id}",
    response_model=SagaBody,
    response_description="The saga.",
    responses={
        200: headers("ETag", "Saga-Status", "Link", "Preference-Applied"),
        304: {
            "description": "The saga is still what If-None-Match names.",
            **headers("ETag", "Saga-Status", "Link"),
        },
    },
    openapi_extra=problems("not_found", "invalid_query"),
)
@requires(Scope.READ, read_token=True)
async def read_saga(
    request: Request, saga_id: SagaId, prefer: Prefer = (), if_none_match: IfNoneMatch = ()
) -> Response:
    """Read one saga: its status, its steps and its trail.

    With `Prefer: wait=N` the answer comes once the saga is finished, or after N seconds. An id that is
    unknown, malformed or another caller's is the same 404.
    """
    service, settings, rendered = service_of(request), settings_of(request), rendered_of(request)
    caller, storage_timeout = caller_of(request), settings.storage_timeout_seconds
    preferred = preference(prefer)
    answered = {"Cache-Control": _PRIVATE}
    if preferred.wait:
        seconds = preferred.seconds(0, at_most=settings.max_wait_seconds)
        view = await wait_for(
            service, saga_id, seconds=seconds, caller=caller, storage_timeout=storage_timeout
        )
        saga = None if view is None else rendered.of(view)
        answered |= preferred.applied(at_most=settings.max_wait_seconds, can_go_on=False)
    else:
        saga = await with_timeout(rendered.find(service.reader, saga_id, caller=caller), storage_timeout)
    if saga is None:
        raise Problem("not_found")
    answered |= {"ETag": saga.etag, **status_headers(saga.status)}
    if matches(if_none_match, saga.etag):
        return Response(status_code=304, headers=answered)
    return Response(saga.content, headers=answered, media_type="application/json")


@router.get(
    "/sagas",
    response_model=SagaPageBody,
    response_description="A page.",
    openapi_extra=problems("invalid_query"),
)
@requires(Scope.READ)
async def list_sagas(
    request: Request,
    status: Annotated[
        SagaStatus | None, one_of(SagaStatus), Query(description="Only sagas with this status.")
    ] = None,
    order_id: Annotated[Name, Query(description="Only sagas of this order.")] = None,
    customer_id: Annotated[Name, Query(description="Only sagas of this customer.")] = None,
    created_after: Annotated[Instant, Query(description="Only sagas started at this time or later.")] = None,
    created_before: Annotated[
        Instant,
        Query(description="Only sagas started before this time: adjacent windows have no saga in common."),
    ] = None,
    cursor: SagaCursor = None,
    limit: Limit = "",
) -> Response:
    """List sagas, newest first.

    A page that isn't the last has a `next_cursor`: send it as `cursor`, with the same filters, for the
    next one. Sagas that start meanwhile never shift the pages.
    """
    service, settings = service_of(request), settings_of(request)
    size = page_limit(limit, settings)
    caller = caller_of(request)
    wanted = SagaFilter(
        caller=None if caller.all_tenants else caller.tenant,
        status=status,
        order_id=order_id,
        customer_id=customer_id,
        created_after=created_after,
        created_before=created_before,
    )
    reading = rendered_of(request).page(service.reader, wanted, before=cursor, limit=size + 1)
    found = await with_timeout(reading, settings.storage_timeout_seconds)
    page = found[:size]
    content = b'{"data":[%s],"next_cursor":%s}' % (
        b",".join(one.content for one in page),
        encode(saga_cursor(page[-1].id) if len(found) > size else None),
    )
    return Response(content, headers={"Cache-Control": _PRIVATE}, media_type="application/json")
