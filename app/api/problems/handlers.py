"""The one place where an exception becomes an answer. Any other is a fault, which `RequestContextMiddleware` answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.context import count_problem
from app.api.middleware.proxies.base_path import link
from app.api.middleware.request_context import request_id_of
from app.api.problems.catalogue import PROBLEMS
from app.api.problems.problem import Problem
from app.api.problems.validation import invalid, request_errors
from app.api.schemas.outcome import status_headers
from app.operations.starting import AlreadyCompleted, AlreadyInProgress, KeyReused
from app.saga.model.errors import DefinitionUnknown, LogUnavailable, LogUnreadable

_logger = logging.getLogger(__name__)

_BY_STATUS = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


ANSWERED = (
    Problem,
    HTTPException,
    RequestValidationError,
    KeyReused,
    AlreadyInProgress,
    AlreadyCompleted,
    LogUnavailable,
    DefinitionUnknown,
    LogUnreadable,
)
"""The exceptions that become answers."""


def answer_errors(app: FastAPI) -> None:
    """Make every error of the app a problem."""
    for kind in ANSWERED:
        app.add_exception_handler(kind, answer)


async def answer(request: Request, error: Exception) -> Response:
    """Return the problem that an error is, and count it; raise the error again where it is a fault."""
    if isinstance(error, HTTPException) and error.status_code == 405 and request.method == "OPTIONS":
        return Response(status_code=204, headers=_allowed(error.headers))
    problem = problem_of(error)
    count_problem(request, problem.name)
    return problem.response(request_id_of(request))


def problem_of(error: Exception) -> Problem:
    """Return the problem that an error is to the caller; raise it again where it is a fault."""
    match error:
        case Problem():
            return error
        case KeyReused():
            return Problem("idempotency_key_reused")
        case AlreadyInProgress() | AlreadyCompleted():
            taken = isinstance(error, AlreadyInProgress)
            name = "order_in_checkout" if taken else "order_already_checked_out"
            url, row = link(f"/sagas/{error.saga_id}"), PROBLEMS[name]
            return Problem(
                name,
                f"{row.happened} It waits for an operator: {error.blocks} {row.to_do}"
                if error.blocks
                else None,
                members={"saga_url": url},
                headers={"Location": url, **status_headers(error.status)},
            )
        case LogUnavailable():
            return Problem(
                "storage_unavailable", "The storage did not answer. Nothing was changed by this request."
            )
        case DefinitionUnknown():
            return Problem("definition_unknown")
        case LogUnreadable():
            return Problem("saga_unreadable")
        case RequestValidationError():
            return invalid(request_errors(error))
        case HTTPException(status_code=status) if status < 500:
            headers = _allowed(error.headers) if status == 405 else dict(error.headers or {})
            return Problem(_BY_STATUS.get(status, "bad_request"), headers=headers)
    raise error


def _allowed(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return what the resource allows, with HEAD and OPTIONS, which every resource has."""
    methods = {name.strip() for name in (headers or {}).get("Allow", "").split(",") if name.strip()}
    if "GET" in methods:
        methods.add("HEAD")
    return {"Allow": ", ".join(sorted(methods | {"OPTIONS"}))}
