"""The problems that an operation may answer with, for the API's description: by status, each with an example."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from app.api.openapi.example_problems import FAILURES, problem, problems
from app.api.openapi.responses import Described, header_refs
from app.api.problems.catalogue import PROBLEMS
from app.api.problems.problem import MEDIA_TYPE

EVERYWHERE = ("card_number_refused", "internal_error")
STORAGE = ("storage_unavailable", "definition_unknown", "saga_unreadable", "not_ready", *EVERYWHERE)
GUARDED = ("unauthenticated", "forbidden", "keys_required", "too_many_unknown_keys", *STORAGE)
"""What every route answers with that needs a key."""

BODY = ("malformed_json", "request_timeout", "body_too_large", "unsupported_media_type")
"""What every route answers with that takes a body."""

_RETRYING = {name for name, row in PROBLEMS.items() if row.retry_after is not None}
_LOCATED = {"checkout_in_progress", "order_in_checkout", "order_already_checked_out", *FAILURES}


def problem_responses(names: Iterable[str]) -> Described:
    """Return the responses that these problems are, by status, with an example of each."""
    shown = problems()
    responses: Described = {}
    for name in names:
        example = shown.get(name) or problem(name)
        status = str(example["status"])
        response = responses.setdefault(
            status,
            {
                "description": HTTPStatus(int(status)).phrase,
                "headers": {},
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        if name in _RETRYING:
            response["headers"] |= header_refs("Retry-After")
        if name in _LOCATED:
            response["headers"] |= header_refs("Location", "Saga-Status")
        response["content"][MEDIA_TYPE]["examples"][name] = {"summary": example["title"], "value": example}
    return responses
