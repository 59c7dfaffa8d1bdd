"""Webhooks, for operators: the state of each endpoint, and sending an event again."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import settings_of, webhooks_of
from app.api.http.json_encoding import encode
from app.api.http.parameters import CURSOR_REFUSED, Limit, Name, one_of, optional, page_limit
from app.api.http.strict_route import StrictRoute
from app.api.middleware.route_rights import requires
from app.api.openapi.responses import operation_id, problems
from app.api.problems.problem import Problem
from app.api.problems.validation import InvalidValue
from app.api.schemas.event_body import (
    DeliveryBody,
    DeliveryPageBody,
    EndpointBody,
    EndpointsBody,
    delivery_body,
    endpoint_body,
)
from app.api.schemas.operator_requests import EmptyObject
from app.api.schemas.outcome import with_timeout
from app.storage.outbox.delivery_rows import DeliveryStatus
from app.webhooks import UnknownDelivery

router = APIRouter(generate_unique_id_function=operation_id, tags=["webhooks"], route_class=StrictRoute)

_ID = re.compile(r"[1-9][0-9]{0,13}")
_HEADERS = {"Cache-Control": "private, no-cache"}


def _before(cursor: str) -> int:
    if not _ID.fullmatch(cursor):
        raise InvalidValue("wrong_form", CURSOR_REFUSED)
    return int(cursor)


_DeliveryCursor = Annotated[
    int | None,
    optional(_before),
    WithJsonSchema({"type": "string", "pattern": f"^{_ID.pattern}$"}),
    Query(description="The next_cursor of the page before."),
]


@router.get(
    "/webhooks",
    response_model=EndpointsBody,
    response_description="The endpoints.",
    openapi_extra=problems("invalid_query"),
)
@requires(Scope.OPERATE, all_tenants=True)
async def list_webhooks(request: Request) -> Response:
    """List the endpoints that the operator configured, with what waits for each."""
    views = await with_timeout(webhooks_of(request).endpoints(), settings_of(request).storage_timeout_seconds)
    body = EndpointsBody(data=[endpoint_body(view) for view in views])
    return Response(encode(body), headers=_HEADERS, media_type="application/json")


@router.get(
    "/webhooks/deliveries",
    response_model=DeliveryPageBody,
    response_description="A page.",
    openapi_extra=problems("invalid_query"),
)
@requires(Scope.OPERATE, all_tenants=True)
async def list_deliveries(
    request: Request,
    status: Annotated[
        DeliveryStatus | None, one_of(DeliveryStatus), Query(description="Only those with this status.")
    ] = None,
    endpoint: Annotated[Name, Query(description="Only those to this endpoint.")] = None,
    cursor: _DeliveryCursor = None,
    limit: Limit = "",
) -> Response:
    """List deliveries, the newest first. A page that isn't the last has a `next_cursor`."""
    webhooks, settings = webhooks_of(request), settings_of(request)
    size = page_limit(limit, settings)
    reading = webhooks.deliveries(status=status, endpoint=endpoint, before=cursor, limit=size + 1)
    deliveries = await with_timeout(reading, settings.storage_timeout_seconds)
    body = DeliveryPageBody(
        data=[delivery_body(one) for one in deliveries[:size]],
        next_cursor=str(deliveries[size - 1].id) if len(deliveries) > size else None,
    )
    return Response(encode(body), headers=_HEADERS, media_type="application/json")


@router.post(
    "/webhooks/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryBody,
    response_description="It is sent again.",
    openapi_extra=problems("not_found", "invalid_empty", "invalid_query"),
)
@requires(Scope.OPERATE, all_tenants=True)
async def redeliver_delivery(
    request: Request,
    delivery_id: Annotated[
        str,
        WithJsonSchema({"type": "integer", "minimum": 1}),
        Path(description="The delivery's id."),
    ],
    _: EmptyObject,
) -> Response:
    """Send a delivery again, at once, under the same id and with a new budget of attempts."""
    if not _ID.fullmatch(delivery_id):
        raise Problem("not_found")
    redelivering = webhooks_of(request).redeliver(int(delivery_id))
    try:
        delivery = await with_timeout(redelivering, settings_of(request).storage_timeout_seconds)
    except UnknownDelivery:
        raise Problem("not_found") from None
    return Response(encode(delivery_body(delivery)), 202, _HEADERS, "application/json")


@router.post(
    "/webhooks/{name}/enable",
    response_model=EndpointBody,
    response_description="It is enabled.",
    openapi_extra=problems("not_found", "invalid_empty", "invalid_query"),
)
@requires(Scope.OPERATE, all_tenants=True)
async def enable_webhook(
    request: Request, name: Annotated[str, Path(description="The endpoint's name.")], _: EmptyObject
) -> Response:
    """Send an endpoint everything again, from where it was left; nothing that happened meanwhile is lost."""
    try:
        view = await with_timeout(
            webhooks_of(request).enable(name), settings_of(request).storage_timeout_seconds
        )
    except UnknownDelivery:
        raise Problem("not_found") from None
    return Response(encode(endpoint_body(view)), headers=_HEADERS, media_type="application/json")
