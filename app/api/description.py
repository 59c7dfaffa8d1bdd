"""The API's description in OpenAPI 3.1: FastAPI's skeleton, with what `operations` tells of each operation."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from app.api.base_path import as_own, base_path, link
from app.api.event_body import DeliveryBody, DeliveryPageBody, EndpointBody, EndpointsBody, EventPageBody
from app.api.operation import Operation, Resolution
from app.api.operations import operations
from app.api.order import Order
from app.api.plan import PlanBody
from app.api.problems import PROBLEMS
from app.api.routes.health import AliveBody, ReadyBody
from app.api.routes.keys import KeyBody, MadeKeyBody, NewKey
from app.api.saga_body import SagaBody
from app.saga.state import SagaStatus

VERSION = "1"
"""The contract's version, not the release's."""

DESCRIPTION = """Check an order out: charge, reserve and ship, or undo what was done.

Money is an integer in the currency's minor unit, times are RFC 3339 in UTC, ids are UUIDv7.
Every error is problem details (RFC 9457): its `type` is a page of this API, stable for programs; its `code` may say more.
Members may be added to what is answered: ignore those that you don't know. What is sent may hold no unknown member.
"""

_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Idempotency-Key": (
        "A new value for each checkout, the same in each repeat: a repeat never charges twice.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7E]+$"},
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
        "Comes back in the answer and stands in the logs.",
        {"type": "string", "maxLength": 128},
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
_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "enum": [f"/problems/{name}" for name in PROBLEMS],
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is true of this occurrence, and what to do."},
        "code": {
            "type": "string",
            "description": "As `type`, or more specific: a failed checkout's failure code.",
        },
        "request_id": {
            "type": "string",
            "description": "Of the request that this is about; name it in a report.",
        },
        "instance": {"type": "string", "format": "uri-reference"},
        "saga": {"$ref": "#/components/schemas/Saga"},
        "saga_url": {"type": "string", "format": "uri-reference"},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Complaint"}},
    },
}
_COMPLAINT: dict[str, Any] = {
    "title": "Complaint",
    "description": "One thing that is wrong with a request. It never repeats what was sent.",
    "type": "object",
    "required": ["detail", "code"],
    "properties": {
        "pointer": {"type": "string", "format": "json-pointer", "description": "Where in the body."},
        "parameter": {"type": "string", "description": "Which query parameter."},
        "header": {"type": "string", "description": "Which header."},
        "detail": {"type": "string", "description": "What to do."},
        "code": {"type": "string"},
    },
}
_PAGE: dict[str, Any] = {
    "title": "SagaPage",
    "description": "A page of sagas, newest first.",
    "type": "object",
    "required": ["data", "next_cursor"],
    "properties": {
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Saga"}},
        "next_cursor": {"type": ["string", "null"], "description": "null on the last page."},
    },
}
_ANSWERED = re.compile(r"/(problems|sagas)/")
_FASTAPIS = {"HTTPValidationError", "ValidationError"}
"""FastAPI's own errors, which this API never answers."""


def describe(app: FastAPI) -> None:
    """Make the app's own description the whole one; it is made when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            with as_own():
                app.openapi_schema = _document(app)
        if not base_path():
            return app.openapi_schema
        served: dict[str, Any] = _linked(app.openapi_schema)
        return served | {"servers": [{"url": base_path()}]}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _linked(value: Any) -> Any:
    """Return a part of the description with the paths that are answered (types, Location, examples) as they are here."""
    if isinstance(value, dict):
        return {name: _linked(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_linked(one) for one in value]
    return link(value) if isinstance(value, str) and _ANSWERED.match(value) else value


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    for (path, method), described in operations().items():
        document["paths"][path][method] |= described
    found = document.get("components", {}).get("schemas", {})
    document["components"] = {
        "schemas": {name: found[name] for name in found if name not in _FASTAPIS} | _schemas(),
        "parameters": {
            name: {"name": name, "in": "header", "required": False, "description": words, "schema": schema}
            for name, (words, schema) in _PARAMETERS.items()
        },
        "headers": {
            name: {"description": words, "schema": schema} for name, (words, schema) in _HEADERS.items()
        },
    }
    return document


def _schemas() -> dict[str, Any]:
    shown = (
        NewKey,
        KeyBody,
        MadeKeyBody,
        Operation,
        Resolution,
        Order,
        SagaBody,
        PlanBody,
        ReadyBody,
        AliveBody,
        *(EventPageBody, EndpointBody, EndpointsBody, DeliveryBody, DeliveryPageBody),
    )
    _, made = TypeAdapter.json_schemas(
        [(shape.__name__, "validation", TypeAdapter(shape)) for shape in shown],
        ref_template="#/components/schemas/{model}",
    )
    named: dict[str, Any] = json.loads(re.sub(r'(\w)Body"', r'\1"', json.dumps(made["$defs"])))
    for name in ("Trail", "Check", "Action"):
        for member in named[name]["properties"].values():
            _left_out(member)
    return named | {"Problem": _PROBLEM, "Complaint": _COMPLAINT, "SagaPage": _PAGE}


def _left_out(member: dict[str, Any]) -> None:
    """Where a member that does not apply is left out, null is never sent."""
    if "default" in member:
        del member["default"]
        member |= next(kind for kind in member.pop("anyOf") if kind != {"type": "null"})
