"""The API's description in OpenAPI 3.1: FastAPI's skeleton, with what `operations` tells of each operation."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.api.limits import ApiSettings
from app.api.middleware.base_path import base_path, link, reached_under
from app.api.middleware.route_rights import RouteRights
from app.api.openapi.operations import operations
from app.api.openapi.security import SECURITY_SCHEMES, needed, security_of
from app.api.openapi.webhook_operations import webhooks
from app.api.schemas.schemas import schemas
from app.saga.model.status import SagaStatus

VERSION = "1"
"""The contract's version, not the release's."""

DESCRIPTION = """Check an order out: charge, reserve and ship, or undo what was done.

Money is an integer in the currency's minor unit, times are RFC 3339 in UTC, ids are UUIDv7.
Every error is problem details (RFC 9457): its `type` is a page of this API, stable for programs; its `code` may say more.
Members may be added to what is answered: ignore those that you don't know. What is sent may hold no unknown member.
"""

_IDEMPOTENCY_KEY = (
    '^(?:[\\x21\\x23-\\x7E][\\x21-\\x7E]{0,254}|"(?:[\\x21\\x23-\\x5B\\x5D-\\x7E]|\\\\["\\\\]){1,255}")$'
)
"""Bare, or in double quotes."""

_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Idempotency-Key": (
        "A new value for each checkout, the same in each repeat: a repeat never charges twice.",
        {"type": "string", "pattern": _IDEMPOTENCY_KEY},
    ),
    "Prefer": ("`respond-async`, `wait=N` (seconds), or both (RFC 7240).", {"type": "string"}),
    "X-Simulate": (
        "Sandbox only: faults on demand, as service.action=fault[:times].",
        {
            "type": "string",
            "examples": ["shipping.execute=timeout_after_effect, payment.compensate=unavailable:2"],
        },
    ),
    "X-Request-ID": (
        "1 to 128 visible ASCII characters come back in the answer and stand in the logs; anything else is replaced.",
        {"type": "string"},
    ),
    "traceparent": ("W3C Trace Context; the saga's own trace goes on from it.", {"type": "string"}),
    "If-Match": (
        "The ETag of the saga that was decided on: refused with 412 once it has gone on.",
        {"type": "string"},
    ),
    "Last-Event-ID": (
        "The id of the last event that came; the stream goes on behind it.",
        {"type": "string"},
    ),
    "If-None-Match": ("The ETag that the caller has.", {"type": "string"}),
}
_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Location": ("Where the saga is read.", {"type": "string", "format": "uri-reference"}),
    "Retry-After": ("In how many seconds to come back.", {"type": "integer", "minimum": 0}),
    "Idempotent-Replayed": (
        "An earlier request with this key began the saga.",
        {"type": "string", "enum": ["true"]},
    ),
    "Saga-Status": (
        "The saga's `status`; an operator has to act where it is `needs_attention`.",
        {"type": "string", "enum": list(SagaStatus)},
    ),
    "Link": (
        'Where Saga-Status is `needs_attention`: the page that says what to do, as `rel="help"`.',
        {"type": "string"},
    ),
    "Preference-Applied": ("Which preferences were honoured.", {"type": "string"}),
    "ETag": ("Names these very bytes.", {"type": "string"}),
    "X-Request-ID": ("This request's id.", {"type": "string"}),
}
_TAGS = {
    "checkout": "Check an order out.",
    "sagas": "Read checkouts, and follow them live.",
    "operating": "What an operator does about a checkout that needs attention, or must stop.",
    "events": "How checkouts ended, to pull.",
    "webhooks": "How checkouts ended, as endpoints are told, and how their deliveries stand.",
    "keys": "API keys.",
    "health": "Whether the process lives and can take work, and its metrics.",
    "pages": "Pages for people.",
}
_CONTACT = {"name": "The operators of this server"}
_LICENSE = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
_SERVER = {"url": "/", "description": "The server that this description comes from."}
_ANSWERED = re.compile(r"/(problems|sagas)/")


def describe(app: FastAPI, settings: ApiSettings) -> None:
    """Make the app's own description, with its limits, the whole one; it is made when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            with reached_under(""):
                app.openapi_schema = _document(app, settings)
        if not base_path():
            return app.openapi_schema
        served: dict[str, Any] = _linked(app.openapi_schema)
        return served | {"servers": [{**_SERVER, "url": base_path()}]}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _linked(value: Any) -> Any:
    """Return a part of the description with the paths that are answered (types, Location, examples) as they are here."""
    if isinstance(value, dict):
        return {name: _linked(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_linked(one) for one in value]
    return link(value) if isinstance(value, str) and _ANSWERED.match(value) else value


def operation_id(route: APIRoute) -> str:
    """Return what generated clients call an operation: its function's name."""
    return route.name


def _document(app: FastAPI, settings: ApiSettings) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=[_SERVER],
        tags=[{"name": name, "description": words} for name, words in _TAGS.items()],
        contact=_CONTACT,
        license_info=_LICENSE,
    )
    for (path, method), described in operations(settings).items():
        document["paths"][path][method] |= described
    route_rights = RouteRights(app.routes)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            rights = route_rights.find(method.upper(), path).rights
            operation["security"] = security_of(rights, method.upper())
            operation["description"] += needed(rights)
    document["webhooks"] = webhooks()
    document["components"] = {
        "schemas": schemas(settings),
        "parameters": {
            name: {"name": name, "in": "header", "required": False, "description": words, "schema": schema}
            for name, (words, schema) in _PARAMETERS.items()
        },
        "headers": {
            name: {"description": words, "schema": schema} for name, (words, schema) in _HEADERS.items()
        },
        "securitySchemes": SECURITY_SCHEMES,
    }
    return document
