"""What each operation takes and answers, for the API's description: the contract's tables, with examples."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from app.api.limits import ApiSettings
from app.api.openapi import examples
from app.api.problems.catalogue import NOTICES, PROBLEMS
from app.api.problems.problem import MEDIA_TYPE
from app.api.schemas.order import NAME_PATTERN
from app.operations.operator_rules import RULES

Described = dict[str, Any]

_EVERYWHERE = ("card_number_refused", "internal_error")
_STORAGE = ("storage_unavailable", "definition_unknown", "saga_unreadable", "not_ready", *_EVERYWHERE)
_GUARDED = ("unauthenticated", "forbidden", "keys_required", "too_many_unknown_keys")
_RECEIVING = (
    "malformed_json",
    "idempotency_key_required",
    "invalid_idempotency_key",
    "bad_simulation",
    "simulation_unavailable",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_request",
    "invalid_dry_run",
    "idempotency_key_reused",
    "checkout_in_progress",
    "order_in_checkout",
    "order_already_checked_out",
    "rate_limited",
    "over_capacity",
    "shutting_down",
)
_FAILING = (
    "payment_declined",
    "inventory_refused",
    "shipping_refused",
    "unusable_answer",
    "service_unavailable",
    "service_timeout",
    "deadline_exceeded",
)


def operations(settings: ApiSettings) -> Mapping[tuple[str, str], Described]:
    """Return what to add to each operation, by path and method."""
    limit = _limit(settings)
    sagas = examples.sagas()
    saga = {"$ref": "#/components/schemas/Saga"}
    running = {name: sagas[name] for name in ("running", "needs_attention")}
    page = {"data": [sagas["running"]], "next_cursor": "AZwLfl8AejGMIlsNnk96EA"}
    return {
        ("/checkout", "post"): {
            "parameters": [
                *_headers("Idempotency-Key", "Prefer", "X-Simulate", "X-Request-ID", "traceparent"),
                _query("dry_run", {"type": "boolean"}, "Validate, answer with the plan, do nothing."),
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Order"},
                        "examples": {"order": {"value": examples.ORDER}},
                    }
                },
            },
            "responses": {
                "200": _answer(
                    "The plan (dry_run=true).",
                    {"$ref": "#/components/schemas/Plan"},
                    {"plan": examples.plan()},
                ),
                "201": _answer("The checkout completed.", saga, {"completed": sagas["completed"]}, _PLACED),
                "202": _answer(
                    "The saga is durable and not finished: it is still running, or Saga-Status is `needs_attention` "
                    "and an operator has to act.",
                    saga,
                    running,
                    (*_PLACED, "Retry-After", "Link"),
                ),
                **_problems(*_RECEIVING, *_FAILING, *_GUARDED, *_STORAGE),
            },
        },
        ("/sagas/{saga_id}", "get"): {
            "parameters": [
                _SAGA_ID,
                *_headers("Prefer", "If-None-Match", "X-Request-ID"),
            ],
            "responses": {
                "200": _answer(
                    "The saga.", saga, sagas, ("ETag", "Saga-Status", "Link", "Preference-Applied")
                ),
                "304": {
                    "description": "The saga is still what If-None-Match names.",
                    "headers": _refs("ETag", "Saga-Status", "Link"),
                },
                **_problems("not_found", "invalid_query", *_GUARDED, *_STORAGE),
            },
        },
        ("/sagas/{saga_id}/events", "get"): {
            "parameters": [
                _SAGA_ID,
                _query(
                    "last_event_id",
                    _SEQ,
                    "As Last-Event-ID, for clients that can't send headers.",
                    may_be_empty=True,
                ),
                *_headers("Last-Event-ID", "X-Request-ID"),
            ],
            "responses": {
                "200": {
                    "description": (
                        "Server-sent events: `id` is the seq, `event` the trail's word, `data` the trail's line "
                        "as JSON; a comment as heartbeat; `event: end` once the saga is finished."
                    ),
                    "headers": _refs(),
                    "content": {
                        "text/event-stream": {
                            "schema": {"type": "string"},
                            "examples": {"stream": {"value": _STREAM}},
                        }
                    },
                },
                **_problems(
                    "not_found",
                    "invalid_last_event_id",
                    "invalid_query",
                    "too_many_watchers",
                    "shutting_down",
                    *_GUARDED,
                    *_STORAGE,
                ),
            },
        },
        ("/sagas/{saga_id}/read-token", "post"): {
            "parameters": [_SAGA_ID, *_headers("X-Request-ID")],
            "responses": {
                "201": _answer(
                    "The token.",
                    {"$ref": "#/components/schemas/ReadToken"},
                    {"token": _A_READ_TOKEN},
                ),
                **_problems("not_found", "invalid_query", *_GUARDED, *_STORAGE),
            },
        },
        **{
            (f"/sagas/{{saga_id}}/{action}", "post"): _operation(action, names)
            for action, names in _OPERATIONS.items()
        },
        ("/sagas", "get"): {
            "parameters": [
                _query(
                    "status",
                    {"$ref": "#/components/schemas/SagaStatus"},
                    "Only sagas that stand so.",
                    may_be_empty=True,
                ),
                _query("order_id", _NAME, "Only sagas of this order.", may_be_empty=True),
                _query("customer_id", _NAME, "Only sagas of this customer.", may_be_empty=True),
                _query("created_after", _TIME, "Only sagas begun at this time or later.", may_be_empty=True),
                _query(
                    "created_before",
                    _TIME,
                    "Only sagas begun before this time: windows that meet share no saga.",
                    may_be_empty=True,
                ),
                _query("cursor", _CURSOR, "The next_cursor of the page before.", may_be_empty=True),
                limit,
                *_headers("X-Request-ID"),
            ],
            "responses": {
                "200": _answer("A page.", {"$ref": "#/components/schemas/SagaPage"}, {"page": page}),
                **_problems("invalid_query", *_GUARDED, *_STORAGE),
            },
        },
        ("/events", "get"): {
            "parameters": [
                _query("after", _CURSOR, "The next of the answer before.", may_be_empty=True),
                limit,
                *_headers("Prefer", "X-Request-ID"),
            ],
            "responses": {
                "200": _answer("Events.", _EVENTS, {"events": examples.events()}, ("Preference-Applied",)),
                **_problems(*_GUARDED, "invalid_query", *_STORAGE),
            },
        },
        ("/webhooks", "get"): {
            "parameters": _headers("X-Request-ID"),
            "responses": {
                "200": _answer("The endpoints.", _ENDPOINTS, {"endpoints": {"data": [examples.endpoint()]}}),
                **_problems(*_GUARDED, "invalid_query", *_STORAGE),
            },
        },
        ("/webhooks/deliveries", "get"): {
            "parameters": [
                _query(
                    "status",
                    {"$ref": "#/components/schemas/DeliveryStatus"},
                    "Only those that stand so.",
                    may_be_empty=True,
                ),
                _query("endpoint", _NAME, "Only those to this endpoint.", may_be_empty=True),
                _query("cursor", _DELIVERY_ID, "The next_cursor of the page before.", may_be_empty=True),
                limit,
                *_headers("X-Request-ID"),
            ],
            "responses": {
                "200": _answer(
                    "A page.",
                    {"$ref": "#/components/schemas/DeliveryPage"},
                    {"page": {"data": [examples.delivery()], "next_cursor": None}},
                ),
                **_problems(*_GUARDED, "invalid_query", *_STORAGE),
            },
        },
        ("/webhooks/deliveries/{delivery_id}/redeliver", "post"): {
            "parameters": [
                _in_path("delivery_id", "The delivery's id.", {"type": "integer", "minimum": 1}),
                *_headers("X-Request-ID"),
            ],
            "requestBody": _EMPTY_OBJECT,
            "responses": {
                "202": _answer(
                    "It is sent again.",
                    {"$ref": "#/components/schemas/Delivery"},
                    {"again": examples.delivery()},
                ),
                **_problems(*_GUARDED, "not_found", *_EMPTY_PROBLEMS, *_STORAGE),
            },
        },
        ("/webhooks/{name}/enable", "post"): {
            "parameters": [
                _in_path("name", "The endpoint's name.", {"type": "string"}),
                *_headers("X-Request-ID"),
            ],
            "requestBody": _EMPTY_OBJECT,
            "responses": {
                "200": _answer(
                    "It is enabled.",
                    {"$ref": "#/components/schemas/Endpoint"},
                    {"enabled": examples.endpoint()},
                ),
                **_problems(*_GUARDED, "not_found", *_EMPTY_PROBLEMS, *_STORAGE),
            },
        },
        ("/livez", "get"): {
            "responses": {
                "200": _answer(
                    "It lives.", {"$ref": "#/components/schemas/Alive"}, {"alive": {"alive": True}}
                ),
                **_problems(*_EVERYWHERE),
            }
        },
        ("/readyz", "get"): {
            "responses": {
                "200": _answer("It can take work.", _READY, {"ready": _readiness(None)}),
                "503": _answer(
                    "It can't, and why.", _READY, {"not_ready": _readiness("It is shutting down.")}
                ),
                **_problems(*_EVERYWHERE),
            }
        },
        ("/keys", "post"): {
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/NewKey"},
                        "examples": {
                            "first": {"summary": "A service's first key", "value": _FIRST_KEY},
                            "shop": {"summary": "A shop's key, made with that", "value": _NEW_KEY},
                        },
                    }
                },
            },
            "responses": {
                "201": _answer(
                    "The key; its text is shown here alone.",
                    {"$ref": "#/components/schemas/MadeKey"},
                    {"key": {**_A_KEY, "key": _TEXT}},
                ),
                **_problems(
                    "malformed_json",
                    "request_timeout",
                    "body_too_large",
                    "unsupported_media_type",
                    "invalid_key",
                    "invalid_query",
                    "not_found",
                    *_GUARDED,
                    *_STORAGE,
                ),
            },
        },
        ("/keys", "get"): {
            "responses": {
                "200": _answer(
                    "Every key there ever was.",
                    {"$ref": "#/components/schemas/KeyList"},
                    {"keys": {"data": [_A_KEY]}},
                ),
                **_problems("invalid_query", "not_found", *_GUARDED, *_STORAGE),
            }
        },
        ("/keys/{key_id}/revoke", "post"): {
            "parameters": [
                {**_SAGA_ID, "name": "key_id", "description": "The key's id."},
                _query(
                    "cascade",
                    {"type": "boolean"},
                    "End also the keys that were made with it, and those made with these.",
                ),
            ],
            "responses": {
                "200": _answer("The key, which opens nothing any more.", _KEY, {"key": _A_KEY}),
                **_problems("not_found", "invalid_query", *_GUARDED, *_STORAGE),
            },
        },
        ("/metrics", "get"): {
            "responses": {
                "200": {
                    "description": "Prometheus text, or OpenMetrics where Accept asks for it.",
                    "headers": _refs(),
                    "content": {
                        kind: {
                            "schema": {"type": "string"},
                            "examples": {
                                "some": {"value": 'checkout_sagas_finished_total{outcome="completed"} 7.0\n'}
                            },
                        }
                        for kind in ("text/plain", "application/openmetrics-text")
                    },
                },
                **_problems("not_found", *_GUARDED, *_STORAGE),
            }
        },
        ("/problems/{name}", "get"): {
            "parameters": [
                {
                    "name": "name",
                    "in": "path",
                    "required": True,
                    "description": "The last part of a problem's type.",
                    "schema": {"type": "string", "enum": [*PROBLEMS, *NOTICES]},
                }
            ],
            "responses": {
                "200": {"description": "A page.", "content": {"text/html": {"schema": {"type": "string"}}}},
                **_problems("not_found", *_EVERYWHERE),
            },
        },
    }


def _operation(action: str, names: tuple[str, ...]) -> Described:
    """Return what an operator's action takes and answers."""
    saga, shown = {"$ref": "#/components/schemas/Saga"}, examples.operated()[action]
    shape = "Resolution" if action == "resolve" else "Operation"
    resolution = {"step": "payment", "reference": "bank transfer 4711"} if action == "resolve" else {}
    given = {**resolution, "reason": "The customer called."}
    return {
        "parameters": [_SAGA_ID, *_headers("If-Match", "Prefer", "X-Request-ID")],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{shape}"},
                    "examples": {action: {"value": given}},
                }
            },
        },
        "responses": {
            "200": _answer(
                "The saga rests: it has ended, or needs attention again.",
                saga,
                {"rests": shown},
                ("ETag", "Saga-Status", "Link", "Preference-Applied"),
            ),
            "202": _answer(
                "It is stored, and the saga goes on.",
                saga,
                {"running": examples.sagas()["running"]},
                ("ETag", "Saga-Status", "Location", "Retry-After", "Preference-Applied"),
            ),
            **_problems(*_OPERATING, *names, *_STORAGE),
        },
    }


_OPERATING = (
    "malformed_json",
    *_GUARDED,
    "not_found",
    "request_timeout",
    "saga_finished",
    "saga_moved",
    "precondition_failed",
    "body_too_large",
    "unsupported_media_type",
    "invalid_operation",
)
_OPERATIONS = {verb.value: tuple(error.code for error in rule.refusals) for verb, rule in RULES.items()}
_STREAM = """retry: 2000

id: 1
event: saga_started
data: {"seq":1,"at":"2026-11-23T09:00:00.000000Z","event":"saga_started"}

id: 2
event: step_failed
data: {"seq":2,"at":"2026-11-23T09:00:00.104000Z","event":"step_failed","step":"payment","attempt":1}

id: 3
event: saga_compensated
data: {"seq":3,"at":"2026-11-23T09:00:00.104000Z","event":"saga_compensated"}

event: end
data: {}
"""
_NAME: Described = {"type": "string", "maxLength": 128, "pattern": NAME_PATTERN}
_TIME: Described = {"type": "string", "format": "date-time"}
_CURSOR: Described = {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}
_DELIVERY_ID: Described = {"type": "string", "pattern": "^[1-9][0-9]{0,13}$"}
_SEQ: Described = {"type": "string", "pattern": "^[0-9]{1,9}$"}
_KEY = {"$ref": "#/components/schemas/Key"}
_TEXT = "ck_k3y9abcd_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
_FIRST_KEY = {"caller": "ops", "who": "ada", "scopes": ["checkout", "operate", "keys"], "everyone": True}
_NEW_KEY = {"caller": "shop", "who": "shop-backend", "scopes": ["checkout"]}
_A_KEY = {
    "id": "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55",
    "prefix": "k3y9abcd",
    **_NEW_KEY,
    "everyone": False,
    "created_at": "2026-11-23T09:00:00.000000Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
    "created_by": "ada",
    "created_by_key": "0193b3c8-11d0-7f0a-9c46-2f1f0c7a6b1e",
}
_PLACED = ("Location", "Saga-Status", "Idempotent-Replayed", "Preference-Applied")
_READY = {"$ref": "#/components/schemas/Ready"}
_SAGA_ID = {
    "name": "saga_id",
    "in": "path",
    "required": True,
    "description": "The saga's id.",
    "schema": {"type": "string", "format": "uuid"},
}
_READS = "rt_k3y9abcd_1769766300_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
_A_READ_TOKEN = {
    "token": _READS,
    "expires_at": "2026-01-30T09:45:00.000000Z",
    "saga_url": f"/sagas/{examples.SAGA_ID}?read_token={_READS}",
    "events_url": f"/sagas/{examples.SAGA_ID}/events?read_token={_READS}",
}
_EVENTS = {"$ref": "#/components/schemas/EventPage"}
_ENDPOINTS = {"$ref": "#/components/schemas/Endpoints"}
_EMPTY_OBJECT: Described = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/EmptyObject"},
            "examples": {"nothing": {"value": {}}},
        }
    },
}
_EMPTY_PROBLEMS = (
    "malformed_json",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_empty",
    "invalid_query",
)
_RETRYING = {name for name, row in PROBLEMS.items() if row.retry_after is not None}
_LOCATED = {"checkout_in_progress", "order_in_checkout", "order_already_checked_out", *_FAILING}


def _readiness(wrong: str | None) -> Described:
    well: Described = {"ok": True}
    last = well if wrong is None else {"ok": False, "detail": wrong}
    return {
        "ready": wrong is None,
        "checks": {"database": well, "schema": well, "lease": well, "draining": last},
    }


def _headers(*names: str) -> list[Described]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _query(name: str, schema: Described, description: str, *, may_be_empty: bool = False) -> Described:
    """Return a query parameter; one that may be empty, as a form's field may, is then as one that isn't there."""
    empty = {"allowEmptyValue": True} if may_be_empty else {}
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        **empty,
        "schema": schema,
    }


def _limit(settings: ApiSettings) -> Described:
    schema = {"type": "integer", "minimum": 1, "maximum": settings.max_page_size}
    words = f"How many on a page; {settings.page_size} where it is left out."
    return _query("limit", schema, words, may_be_empty=True)


def _in_path(name: str, description: str, schema: Described) -> Described:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _refs(*names: str) -> Described:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-ID")}


def _answer(
    description: str, schema: Described, shown: Mapping[str, Any], headers: tuple[str, ...] = ()
) -> Described:
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in shown.items()}}
    return {"description": description, "headers": _refs(*headers), "content": {"application/json": content}}


def _problems(*names: str) -> Described:
    """Return the responses that these problems make, by status, with an example of each."""
    told = examples.problems()
    responses: Described = {}
    for name in names:
        example = told.get(name) or examples.problem(name)
        status = str(example["status"])
        response = responses.setdefault(
            status,
            {
                "description": HTTPStatus(int(status)).phrase,
                "headers": _refs(),
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        if name in _RETRYING:
            response["headers"] |= _refs("Retry-After")
        if name in _LOCATED:
            response["headers"] |= _refs("Location", "Saga-Status")
        response["content"][MEDIA_TYPE]["examples"][name] = {"summary": example["title"], "value": example}
    return responses
