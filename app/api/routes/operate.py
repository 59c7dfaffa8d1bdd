"""What an operator does about a saga: cancel, retry, resolve. The trail records each, with who and why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of
from app.api.http.headers.prefer import preference
from app.api.http.parameters import IfMatch, Lines, Prefer, SagaId
from app.api.http.strict_route import StrictRoute
from app.api.middleware.route_rights import requires
from app.api.openapi.responses import headers, operation_id, problems
from app.api.problems.catalogue import PROBLEMS
from app.api.problems.problem import Problem
from app.api.problems.validation import field_error, invalid
from app.api.schemas.operator_requests import Operation, Resolution, seen_by
from app.api.schemas.outcome import accepted, saga_url, status_headers, wait_for
from app.api.schemas.rendered_sagas import rendered_of
from app.api.schemas.saga_body import SagaBody
from app.operations.operator_rules import RULES, OperatorError, OperatorVerb, UnknownStep
from app.operations.saga_view import SagaView
from app.saga.model.errors import LogUnavailable, SagaMoved
from app.saga.model.status import SagaStatus

router = APIRouter(generate_unique_id_function=operation_id, tags=["operating"], route_class=StrictRoute)

_ACTION: Mapping[str, Any] = {
    "response_model": SagaBody,
    "response_description": "The saga is inactive: it has ended, or needs attention again.",
    "responses": {
        200: headers("ETag", "Saga-Status", "Link", "Preference-Applied"),
        202: {
            "model": SagaBody,
            "description": "The action is stored, and the saga continues.",
            **headers("ETag", "Saga-Status", "Location", "Retry-After", "Preference-Applied"),
        },
    },
}
_REFUSED = ("not_found", "saga_finished", "saga_moved", "precondition_failed", "invalid_operation")


def _refusals(verb: OperatorVerb) -> dict[str, Any]:
    return problems(*_REFUSED, *(error.code for error in RULES[verb].refusals))


@router.post("/sagas/{saga_id}/cancel", **_ACTION, openapi_extra=_refusals(OperatorVerb.CANCEL))
@requires(Scope.OPERATE)
async def cancel_saga(
    request: Request, saga_id: SagaId, operation: Operation, if_match: IfMatch = (), prefer: Prefer = ()
) -> Response:
    """Stop a saga: it waits for what is under way, then compensates everything done in reverse.

    A saga that is past its pivot or has ended can't be cancelled (409). While it compensates, cancelling it
    again changes nothing.
    """
    return await _act(request, OperatorVerb.CANCEL, saga_id, operation, if_match, prefer)


@router.post("/sagas/{saga_id}/retry", **_ACTION, openapi_extra=_refusals(OperatorVerb.RETRY))
@requires(Scope.OPERATE)
async def retry_saga(
    request: Request, saga_id: SagaId, operation: Operation, if_match: IfMatch = (), prefer: Prefer = ()
) -> Response:
    """Retry the failed step of a saga that needs attention, with a fresh budget of attempts."""
    return await _act(request, OperatorVerb.RETRY, saga_id, operation, if_match, prefer)


@router.post("/sagas/{saga_id}/resolve", **_ACTION, openapi_extra=_refusals(OperatorVerb.RESOLVE))
@requires(Scope.OPERATE)
async def resolve_saga(
    request: Request, saga_id: SagaId, resolution: Resolution, if_match: IfMatch = (), prefer: Prefer = ()
) -> Response:
    """Record that an operator settled a stuck step elsewhere, and continue with the rest."""
    return await _act(request, OperatorVerb.RESOLVE, saga_id, resolution, if_match, prefer)


async def _act(
    request: Request, verb: OperatorVerb, saga_id: str, given: Operation, if_match: Lines, prefer: Lines
) -> Response:
    view = await carry_out(
        request, verb, saga_id, given, seen=seen_by(if_match), prefer=prefer, named=bool(if_match)
    )
    return _answer(request, prefer, view)


async def carry_out(
    request: Request,
    verb: OperatorVerb,
    saga_id: str,
    given: Operation,
    *,
    seen: Collection[int] | None,
    prefer: Lines = (),
    named: bool = False,
) -> SagaView:
    """Carry out an operator's action, and return the saga once it is inactive, or after the wait that is preferred.

    `named` says that the client named what it has seen. Raise a problem if the action is refused, or a cancellation
    came too late.
    """
    action = service_of(request).operator.act(
        verb, saga_id, caller=caller_of(request), seen=seen, **given.model_dump()
    )
    view = await _carried_out(request, saga_id, action, prefer, named=named)
    if verb is OperatorVerb.CANCEL and (view.state.status is SagaStatus.COMPLETED or view.state.past_pivot):
        raise _refused("past_pivot", saga_id)  # its last step succeeded while the cancellation was pending
    return view


async def _carried_out(
    request: Request, saga_id: str, action: Awaitable[None], prefer: Lines, *, named: bool
) -> SagaView:
    settings = settings_of(request)
    try:
        async with asyncio.timeout(settings.storage_timeout_seconds):
            await action
    except SagaMoved:
        raise _refused("precondition_failed" if named else "saga_moved", saga_id) from None
    except UnknownStep:
        wrong = field_error("/step", UnknownStep.code, "Give the name of one of the saga's steps.")
        raise invalid([wrong]) from None
    except OperatorError as error:
        row = PROBLEMS[error.code]
        detail = f"{row.happened} {error.blocks} {row.to_do}" if error.blocks else None
        raise _refused(error.code, saga_id, detail) from None
    except (LogUnavailable, TimeoutError) as error:
        raise _not_stored(error, saga_id) from None
    preferred = preference(prefer)
    try:
        view = await wait_for(
            service_of(request),
            saga_id,
            seconds=preferred.seconds(settings.operate_wait_seconds, at_most=settings.max_wait_seconds),
            caller=caller_of(request),
            storage_timeout=settings.storage_timeout_seconds,
        )
    except LogUnavailable:
        view = None
    if view is None:
        detail = "It is stored and the saga continues, but can't be read now. Follow it at `saga_url`."
        raise _refused("storage_unavailable", saga_id, detail)
    return view


def _answer(request: Request, prefer: Lines, view: SagaView) -> Response:
    """Return 200 for an inactive saga, else 202."""
    answered = preference(prefer).applied(at_most=settings_of(request).max_wait_seconds)
    saga = rendered_of(request).of(view)
    answered["ETag"] = saga.etag
    if not view.inactive:
        return accepted(view, extra=answered)
    return Response(saga.content, 200, answered | status_headers(view.state.status), "application/json")


def _not_stored(error: LogUnavailable | TimeoutError, saga_id: str) -> Problem:
    if isinstance(error, LogUnavailable) and error.stored is False:
        return _refused(
            "storage_unavailable", saga_id, "Nothing was stored, so nothing will happen: try again."
        )
    detail = (
        "Whether it was stored is not known yet: look at the saga before you send the request again, "
        "or send it again with the If-Match that you had: it is never done twice."
    )
    return _refused("storage_unavailable", saga_id, detail)


def _refused(name: str, saga_id: str, detail: str | None = None) -> Problem:
    members = {} if name in {"not_found", "forbidden"} else {"saga_url": saga_url(saga_id)}
    return Problem(name, detail, members=members)
