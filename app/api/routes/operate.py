"""What a person does about a saga: cancel, retry, resolve. Each stands in the trail, with who and why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of
from app.api.http import query
from app.api.http.json_body import check_headers, read_json
from app.api.http.json_encoding import encode
from app.api.http.prefer import preference
from app.api.http.saga_id import known_form
from app.api.middleware.route_rights import requires
from app.api.problems.catalogue import PROBLEMS
from app.api.problems.problem import Problem
from app.api.problems.validation import complaint, invalid
from app.api.routes.sagas import saga_etag
from app.api.schemas.operator_requests import Operation, Resolution, seen_by
from app.api.schemas.outcome import accepted, saga_url, status_headers, wait_for
from app.api.schemas.saga_body import saga_body
from app.operations.operator_rules import OperatorError, OperatorVerb, UnknownStep
from app.operations.saga_view import SagaView
from app.saga.model.errors import LogUnavailable, SagaMoved
from app.saga.model.status import SagaStatus

router = APIRouter(tags=["operating"])


@router.post("/sagas/{saga_id}/cancel")
@requires(Scope.OPERATE)
async def cancel_saga(request: Request, saga_id: str) -> Response:
    """Stop a saga: what is under way is waited for, then everything done is undone in reverse.

    A saga that is past its pivot or has ended can't be cancelled (409). While it is being undone, to cancel
    it again does nothing more.
    """
    return await _act(request, OperatorVerb.CANCEL, saga_id, Operation)


@router.post("/sagas/{saga_id}/retry")
@requires(Scope.OPERATE)
async def retry_saga(request: Request, saga_id: str) -> Response:
    """Try again what failed in a saga that needs attention, with a fresh budget of attempts."""
    return await _act(request, OperatorVerb.RETRY, saga_id, Operation)


@router.post("/sagas/{saga_id}/resolve")
@requires(Scope.OPERATE)
async def resolve_saga(request: Request, saga_id: str) -> Response:
    """Note that a person settled outside what a saga can't get over, and go on with the rest."""
    return await _act(request, OperatorVerb.RESOLVE, saga_id, Resolution)


async def _act(request: Request, verb: OperatorVerb, saga_id: str, form: type[Operation]) -> Response:
    given = form.of(await _body(request, saga_id))
    seen = seen_by(request.headers.getlist("if-match"))
    return _answer(request, await carry_out(request, verb, saga_id, given, seen=seen))


async def carry_out(
    request: Request, verb: OperatorVerb, saga_id: str, given: Operation, *, seen: Collection[int] | None
) -> SagaView:
    """Carry out an operator's action, and return the saga once it is inactive, or after the wait that is preferred.

    Raise a problem where the action is refused, or a cancellation came too late.
    """
    operator = service_of(request).operator
    view = await _carried_out(
        request,
        saga_id,
        operator.act(verb, saga_id, caller=caller_of(request), seen=seen, **given.model_dump()),
    )
    if verb is OperatorVerb.CANCEL and (view.state.status is SagaStatus.COMPLETED or view.state.past_pivot):
        raise _refused("past_pivot", saga_id)  # its last step succeeded while the cancellation was pending
    return view


async def _body(request: Request, saga_id: str) -> Any:
    """Return the body's JSON, once it is known that the caller may act at all."""
    settings = settings_of(request)
    query.parameters(request)
    if not caller_of(request).has_scope(Scope.OPERATE):
        raise Problem("forbidden")
    known_form(saga_id)
    check_headers(request, max_bytes=settings.max_body_bytes)
    return await read_json(request, max_bytes=settings.max_body_bytes)


async def _carried_out(request: Request, saga_id: str, action: Awaitable[None]) -> SagaView:
    settings = settings_of(request)
    try:
        async with asyncio.timeout(settings.storage_patience_seconds):
            await action
    except SagaMoved:
        asked = request.headers.getlist("if-match")
        raise _refused("precondition_failed" if asked else "saga_moved", saga_id) from None
    except UnknownStep:
        wrong = complaint("/step", UnknownStep.code, "Give the name of one of the saga's steps.")
        raise invalid([wrong]) from None
    except OperatorError as error:
        row = PROBLEMS[error.code]
        detail = f"{row.happened} {error.blocks} {row.to_do}" if error.blocks else None
        raise _refused(error.code, saga_id, detail) from None
    except (LogUnavailable, TimeoutError) as error:
        raise _not_stored(error, saga_id) from None
    prefer = preference(request.headers.getlist("prefer"))
    try:
        view = await wait_for(
            service_of(request),
            saga_id,
            seconds=prefer.seconds(settings.operate_wait_seconds, at_most=settings.max_wait_seconds),
            caller=caller_of(request),
            patience=settings.storage_patience_seconds,
        )
    except LogUnavailable:
        view = None
    if view is None:
        detail = (
            "It is stored and goes on, but how the saga stands can't be read now. Follow it at `saga_url`."
        )
        raise _refused("storage_unavailable", saga_id, detail)
    return view


def _answer(request: Request, view: SagaView) -> Response:
    """Return 200 for a saga that rests, else 202."""
    settings = settings_of(request)
    headers = preference(request.headers.getlist("prefer")).applied(at_most=settings.max_wait_seconds)
    content = encode(saga_body(view))
    headers["ETag"] = saga_etag(view, content)
    if not view.inactive:
        return accepted(view, extra=headers)
    return Response(content, 200, headers | status_headers(view.state.status), "application/json")


def _not_stored(error: LogUnavailable | TimeoutError, saga_id: str) -> Problem:
    if isinstance(error, LogUnavailable) and error.stored is False:
        return _refused(
            "storage_unavailable", saga_id, "Nothing was stored, so nothing will happen: try again."
        )
    detail = (
        "Whether it was stored can't be told yet: look at the saga before you send the request again, "
        "or send it again with the If-Match that you had: it is never done twice."
    )
    return _refused("storage_unavailable", saga_id, detail)


def _refused(name: str, saga_id: str, detail: str | None = None) -> Problem:
    members = {} if name in {"not_found", "forbidden"} else {"saga_url": saga_url(saga_id)}
    return Problem(name, detail, members=members)
