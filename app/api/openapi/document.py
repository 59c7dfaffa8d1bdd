"""The API's description in OpenAPI 3.1: as FastAPI writes it from the routes, with problems and examples."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.access.rights import Rights
from app.api.http.described_route import with_their_answers
from app.api.limits import ApiSettings
from app.api.middleware.route_rights import RouteRights
from app.api.openapi import examples
from app.api.openapi.checkout import HEADERS
from app.api.openapi.description import SERVER
from app.api.openapi.problem_responses import BODY, EVERYWHERE, GUARDED, problem_responses
from app.api.openapi.responses import PROBLEMS_MARK, header_refs
from app.api.openapi.schemas import schemas
from app.api.openapi.security import SECURITY_SCHEMES, needed, security_of
from app.api.openapi.webhook_operations import webhooks
from app.api.problems.problem import MEDIA_TYPE
from app.saga.model.status import SagaStatus

_REQUEST_ID = (
    "1 to 128 visible ASCII characters are returned in the answer and recorded in the logs; anything else is "
    "replaced."
)
_WITHOUT_REQUEST_ID = {"health", "keys", "pages"}
"""Tags of what is asked one by one: there is nothing to find again in the logs."""

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
    "ETag": ("Identifies these exact bytes.", {"type": "string"}),
    "X-Request-ID": ("This request's id.", {"type": "string"}),
}
_TAGS = {
    "checkout": "Check an order out.",
    "sagas": "Read checkouts, and follow them live.",
    "operating": "What an operator does about a checkout that needs attention, or must stop.",
    "events": "How checkouts ended, to pull.",
    "webhooks": "How checkouts ended, sent to endpoints, and the state of the deliveries.",
    "keys": "API keys.",
    "health": "Whether the process lives and can take work, and its metrics.",
    "pages": "Pages for people.",
}
_CONTACT = {"name": "The operators of this server"}
_LICENSE = {"name": "Apache 2.0", "identifier": "Apache-2.0"}


def document(app: FastAPI, settings: ApiSettings) -> dict[str, Any]:
    """Return the description of all routes, as clients reach them without a base path."""
    described = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=with_their_answers(app.routes),
        servers=[SERVER],
        tags=[{"name": name, "description": words} for name, words in _TAGS.items()],
        contact=_CONTACT,
        license_info=_LICENSE,
        separate_input_output_schemas=False,
    )
    parameters = {name: _header(name, *said) for name, said in HEADERS.items()}
    parameters["X-Request-ID"] = _header("X-Request-ID", _REQUEST_ID, {"type": "string"})
    route_rights, shown = RouteRights(app.routes), examples.of_operations()
    for path, item in described["paths"].items():
        for method, operation in item.items():
            _complete(operation, route_rights.find(method.upper(), path).rights, method.upper())
            _show(operation, shown)
            for parameter in operation.get("parameters", ()):
                _tidy(parameter, settings)
            operation["parameters"] = _by_reference(operation.get("parameters", []), parameters)
            if not operation["parameters"]:
                del operation["parameters"]
    described["webhooks"] = webhooks()
    described["components"] = {
        "schemas": schemas(described["components"]["schemas"], settings),
        "parameters": parameters,
        "headers": {
            name: {"description": words, "schema": schema} for name, (words, schema) in _HEADERS.items()
        },
        "securitySchemes": SECURITY_SCHEMES,
    }
    renamed: dict[str, Any] = json.loads(re.sub(r'(/schemas/\w+)Body"', r'\1"', json.dumps(described)))
    return renamed


def _complete(operation: dict[str, Any], rights: Rights, method: str) -> None:
    """Add what follows from how a route is built: its security, its problems, and the id of every request."""
    operation["security"] = security_of(rights, method)
    operation["description"] += needed(rights)
    if not _WITHOUT_REQUEST_ID & set(operation["tags"]):
        operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/X-Request-ID"})
    names = [
        *(BODY if "requestBody" in operation else ()),
        *operation.pop(PROBLEMS_MARK, ()),
        *(EVERYWHERE if rights.public else GUARDED),
    ]
    operation["responses"] |= problem_responses(names)
    for response in operation["responses"].values():
        response.setdefault("headers", {}).update(header_refs("X-Request-ID"))


def _show(operation: dict[str, Any], shown: examples.Shown) -> None:
    """Add the examples of what an operation takes and answers."""
    bodies = {"request": operation["requestBody"]} if "requestBody" in operation else {}
    for place, body in (bodies | operation["responses"]).items():
        for media_type, content in body.get("content", {}).items():
            if media_type != MEDIA_TYPE and (found := shown.get((operation["operationId"], place))):
                content["examples"] = {
                    name: {**examples.SUMMARIES.get(name, {}), "value": value}
                    for name, value in found.items()
                }


def _tidy(parameter: dict[str, Any], settings: ApiSettings) -> None:
    """Say of a parameter what is so, and no more: none is null, and an empty one is as one that isn't there."""
    schema = parameter.get("schema", {})
    for repeated in ("title", "description", "default"):  # they say no more than the parameter
        schema.pop(repeated, None)
    if "anyOf" in schema:
        parameter["schema"] = schema = next(kind for kind in schema["anyOf"] if kind != {"type": "null"})
    if parameter.get("in") == "query" and schema.get("type") != "boolean":
        parameter["allowEmptyValue"] = True
    if parameter.get("name") == "limit":
        schema["maximum"] = settings.max_page_size
        parameter["description"] = f"How many on a page; {settings.page_size} if it is left out."


def _by_reference(given: list[dict[str, Any]], shared: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an operation's parameters, the headers by reference: they are the same wherever they are taken."""
    found = []
    for parameter in given:
        if parameter.get("in") == "header":
            shared[parameter["name"]] = parameter
            found.append({"$ref": f"#/components/parameters/{parameter['name']}"})
        else:
            found.append(parameter)
    return found


def _header(name: str, words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": words, "schema": schema}
