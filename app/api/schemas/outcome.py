"""A saga as the answer to the request that began it, or repeats it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from starlette.responses import Response

from app.access.principal import Principal
from app.api.context import AppContext
from app.api.http.json_encoding import encode
from app.api.middleware.base_path import link
from app.api.problems.catalogue import PROBLEMS, name_of
from app.api.problems.problem import Problem
from app.api.schemas.saga_json import saga_json
from app.operations.saga_view import SagaView
from app.saga.model.attention import sentence
from app.saga.model.errors import FailureKind, LogUnavailable
from app.saga.model.state import Failure
from app.saga.model.status import SagaStatus

_T = TypeVar("_T")

RETRY_AFTER = 1
"""In how many seconds it is worth looking at a saga again that is being worked on."""

ATTENTION_RETRY_AFTER = 60
"""The same for one that waits for a person."""


def saga_url(saga_id: str) -> str:
    """Return where a saga is read, by the client of the present request."""
    return link(f"/sagas/{saga_id}")


def status_headers(status: SagaStatus) -> dict[str, str]:
    """Return what a client can tell how a saga stands by without its body.

    A 202 is also the answer for one that needs attention: nothing more happens until an operator acts, so a
    client that polls would wait for ever. `Link` leads to what it can do.
    """
    headers = {"Saga-Status": status.value}
    if status is SagaStatus.NEEDS_ATTENTION:
        headers["Link"] = f'<{link(f"/problems/{status.value}")}>; rel="help"'
    return headers


def outcome(view: SagaView, *, replayed: bool = False, extra: Mapping[str, str] | None = None) -> Response:
    """Return 201 for a completed saga, the problem that a compensated one is, else 202.

    It depends on nothing but the durable saga, the request id included, so that a repeat gets the same
    bytes, from any replica, after any restart.
    """
    headers = status_headers(view.state.status) | dict(extra or {})
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    if view.state.status is SagaStatus.COMPENSATED:
        problem = failed(view) if view.unreadable is None else _untold(view)
        problem.headers = {**problem.headers, **headers}
        return problem.response(view.saga.request_id or view.saga.id)
    if view.state.status is SagaStatus.COMPLETED:
        headers["Location"] = saga_url(view.saga.id)
        return Response(encode(saga_json(view)), 201, headers, "application/json")
    return accepted(view, extra=headers)


def accepted(view: SagaView, *, extra: Mapping[str, str] | None = None) -> Response:
    """Return 202: the saga is durable, and here is how it stands."""
    waits_for_person = view.state.status is SagaStatus.NEEDS_ATTENTION
    headers = {
        **status_headers(view.state.status),
        "Location": saga_url(view.saga.id),
        "Retry-After": str(ATTENTION_RETRY_AFTER if waits_for_person else RETRY_AFTER),
        **(extra or {}),
    }
    return Response(encode(saga_json(view)), 202, headers, "application/json")


def failed(view: SagaView) -> Problem:
    """Return the problem that a compensated saga is."""
    failure = view.state.failure or Failure(
        step=None, code="unknown", message="The checkout failed.", kind=FailureKind.UNUSABLE
    )
    name = name_of(failure)
    url = saga_url(view.saga.id)
    return Problem(
        name,
        " ".join((sentence(failure.message), "Everything done was undone.", PROBLEMS[name].to_do)),
        code=failure.code,
        members={"instance": url, "saga": saga_json(view)},
        headers={"Location": url},
    )


def _untold(view: SagaView) -> Problem:
    """Return the problem of a checkout that was undone, and this release can't tell why."""
    url = saga_url(view.saga.id)
    return Problem(
        "saga_unreadable", members={"instance": url, "saga": saga_json(view)}, headers={"Location": url}
    )


async def wait_for(
    service: AppContext, saga_id: str, *, seconds: float, caller: Principal, storage_timeout: float
) -> SagaView | None:
    """Return a saga once it rests, or as it stands after `seconds`, or sooner where the process is closing.

    Raise `LogUnavailable` where storage takes longer than `storage_timeout` over it. The wait holds nothing
    of the saga: cancelling it, or the request, leaves the saga as it is.
    """
    waiting = asyncio.ensure_future(service.reader.wait(saga_id, seconds=seconds, caller=caller))
    closing = asyncio.ensure_future(service.closing.wait())
    try:
        await asyncio.wait(
            {waiting, closing}, timeout=seconds + storage_timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if waiting.done():
            return waiting.result()
        if not closing.done():
            raise LogUnavailable("The saga log has not answered in time.")
        return await with_timeout(service.reader.get(saga_id, caller=caller), storage_timeout)
    finally:
        waiting.cancel()
        closing.cancel()


async def with_timeout(reading: Coroutine[Any, Any, _T], storage_timeout: float) -> _T:
    """Return what a reading of storage gives; raise `LogUnavailable` where it takes longer than that."""
    try:
        async with asyncio.timeout(storage_timeout):
            return await reading
    except TimeoutError:
        raise LogUnavailable("The saga log has not answered in time.") from None
