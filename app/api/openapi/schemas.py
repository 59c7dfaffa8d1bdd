"""The schemas of the API's description: as the framework makes them of the types, and what it can't know of them."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import TypeAdapter

from app.api.limits import ApiSettings
from app.api.problems.catalogue import PROBLEMS
from app.api.schemas.order import Order

Schema = dict[str, Any]

_SPARSE = ("Trail", "Check", "Action")
"""Answers that leave out a member which doesn't apply."""

_OPEN = ("EventName", "EventType")
"""Words to which a later version may add others, which a client that was generated before must read, too."""

_MORE_MAY_COME = "More may come: ignore what you don't know."

_PROBLEM: Schema = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": f"A page of this API. {_MORE_MAY_COME}",
            "examples": [f"/problems/{name}" for name in PROBLEMS],
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
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
    },
}
_FIELD_ERROR: Schema = {
    "title": "FieldError",
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
_STEP_RESULT: Schema = {
    "title": "StepResult",
    "description": "What a service answered.",
    "type": "object",
    "additionalProperties": True,
}


def schemas(made: dict[str, Schema], settings: ApiSettings) -> dict[str, Schema]:
    """Return every schema by its name: those that the framework made of the routes, and those of a checkout.

    None has a `default`: generators of clients take a member that has one for one that is always there, so
    that a request without it no longer type-checks. What a missing member means, words say.
    """
    order = TypeAdapter(Order).json_schema(ref_template="#/components/schemas/{model}")
    made = made | order.pop("$defs") | {"Order": order}
    for name in ("HTTPValidationError", "ValidationError"):  # every bad request is a Problem
        made.pop(name, None)
    named: dict[str, Schema] = json.loads(re.sub(r'(\w)Body"', r'\1"', json.dumps(made)))
    for schema in named.values():
        for member in schema.get("properties", {}).values():
            member.pop("title", None)  # says no more than its name
    for name in _SPARSE:
        for member in named[name]["properties"].values():
            _never_null(member)
    for schema in named.values():
        for member in schema.get("properties", {}).values():
            member.pop("default", None)
    for name in _OPEN:
        words = named[name].pop("enum")
        named[name] |= {"description": f"{named[name]['description']} {_MORE_MAY_COME}", "examples": words}
    named["Order"]["properties"]["items"]["maxItems"] = settings.max_items
    for name in ("Step", "Compensation"):
        _name_result(named[name]["properties"]["result"])
    return named | {
        "WebhookEvent": _webhook_event(named["Event"]),
        "Problem": _PROBLEM,
        "FieldError": _FIELD_ERROR,
        "StepResult": _STEP_RESULT,
    }


def _never_null(member: Schema) -> None:
    """A member that does not apply is left out: null is never sent."""
    if {"type": "null"} in member.get("anyOf", ()):
        member |= next(kind for kind in member.pop("anyOf") if kind != {"type": "null"})


def _webhook_event(event: Schema) -> Schema:
    """Return the schema of what is posted: an event of the feed, whose id is in a header, with its saga."""
    members = {name: member for name, member in event["properties"].items() if name != "id"}
    members["data"] = {"$ref": "#/components/schemas/Saga", "description": "The saga as it was then."}
    return {
        "title": "WebhookEvent",
        "description": "How a saga ended; the header webhook-id is the event's id.",
        "type": "object",
        "required": list(members),
        "properties": members,
    }


def _name_result(member: Schema) -> None:
    """Or generators make up a name for it."""
    member["anyOf"] = [{"$ref": "#/components/schemas/StepResult"}, {"type": "null"}]
