"""Webhooks, for operators: how each endpoint stands, and having an event sent again."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import caller_of, settings_of, webhooks_of
from app.api.http import query
from app.api.http.json_body import check_headers, read_json
from app.api.http.json_encoding import encode
from app.api.middleware.route_rights import requires
from app.api.problems.problem import Problem
from app.api.problems.validation import complaint, invalid
from app.api.schemas.event_body import (
    DeliveryPageBody,
    EndpointsBody,
    delivery_body,
    endpoint_body,
)
from app.api.schemas.outcome import with_timeout
from app.storage.outbox.deliveries import DeliveryStatus
from app.webhooks import UnknownDelivery

router = APIRouter(tags=["webhooks"])

_ID = re.compile(r"[1-9][0-9]{0,13}")
_HEADERS = {"Cache-Control": "private, no-cache"}


@router.get("/webhooks")
@requires(Scope.OPERATE, all_tenants=True)
async def list_webhooks(request: Request) -> Response:
    """List the endpoints that the operator configured, with what waits for each."""
    webhooks, settings = webhooks_of(request), settings_of(request)
    _operators_only(request)
    query.parameters(request)
    views = await with_timeout(webhooks.endpoints(), settings.storage_patience_seconds)
    body = EndpointsBody(data=[endpoint_body(view) for view in views])
    return Response(encode(body), headers=_HEADERS, media_type="application/json")


@router.get("/webhooks/deliveries")
@requires(Scope.OPERATE, all_tenants=True)
async def list_deliveries(request: Request) -> Response:
    """List deliveries, the newest first. A page that isn't the last has a `next_cursor`."""
    webhooks, settings = webhooks_of(request), settings_of(request)
    _operators_only(request)
    found = query.parameters(request, ("status", "endpoint", "cursor", "limit"))
    status = found.get("status") or None
    if status is not None and status not in list(DeliveryStatus):
        raise query.wrong("status", "wrong_form", f"Give one of {', '.join(DeliveryStatus)}.")
    cursor = found.get("cursor") or None
    if cursor is not None and not _ID.fullmatch(cursor):
        raise query.wrong(
            "cursor", "wrong_form", "Give the next_cursor of an earlier page as it was, or none."
        )
    limit = query.count(found, "limit", otherwise=settings.page_size, at_most=settings.max_page_size)
    reading = webhooks.deliveries(
        status=DeliveryStatus(status) if status else None,
        endpoint=query.text(found, "endpoint"),
        before=int(cursor) if cursor else None,
        limit=limit + 1,
    )
    deliveries = await with_timeout(reading, settings.storage_patience_seconds)
    body = DeliveryPageBody(
        data=[delivery_body(one) for one in deliveries[:limit]],
        next_cursor=str(deliveries[limit - 1].id) if len(deliveries) > limit else None,
    )
    return Response(encode(body), headers=_HEADERS, media_type="application/json")


@router.post("/webhooks/deliveries/{delivery_id}/redeliver")
@requires(Scope.OPERATE, all_tenants=True)
async def redeliver_delivery(request: Request, delivery_id: str) -> Response:
    """Have a delivery sent again, at once, under the same id and with a new budget of attempts."""
    webhooks, settings = webhooks_of(request), settings_of(request)
    await _nothing_more(request)
    if not _ID.fullmatch(delivery_id):
        raise Problem("not_found")
    try:
        delivery = await with_timeout(webhooks.redeliver(int(delivery_id)), settings.storage_patience_seconds)
    except UnknownDelivery:
        raise Problem("not_found") from None
    return Response(encode(delivery_body(delivery)), 202, _HEADERS, "application/json")


@router.post("/webhooks/{name}/enable")
@requires(Scope.OPERATE, all_tenants=True)
async def enable_webhook(request: Request, name: str) -> Response:
    """Send an endpoint everything again, from where it was left; nothing that happened meanwhile is lost."""
    webhooks, settings = webhooks_of(request), settings_of(request)
    await _nothing_more(request)
    try:
        view = await with_timeout(webhooks.enable(name), settings.storage_patience_seconds)
    except UnknownDelivery:
        raise Problem("not_found") from None
    return Response(encode(endpoint_body(view)), headers=_HEADERS, media_type="application/json")


def _operators_only(request: Request) -> None:
    """Deliveries are of everyone's sagas, so who sees only their own doesn't see them."""
    caller = caller_of(request)
    if not (caller.has_scope(Scope.OPERATE) and caller.all_tenants):
        raise Problem("forbidden")


async def _nothing_more(request: Request) -> None:
    """Take an empty JSON object alone: no page of another site can send that, nor a misspelt wish pass."""
    settings = settings_of(request)
    _operators_only(request)
    query.parameters(request)
    check_headers(request, max_bytes=settings.max_body_bytes)
    content = await read_json(request, max_bytes=settings.max_body_bytes)
    if content != {} or not isinstance(content, dict):
        raise invalid([complaint("", "unknown_member", "Send an empty object: {}.")])
