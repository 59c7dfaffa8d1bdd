"""A saga as the answer to the request that started it, and to its repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from starlette.responses import Response

from app.access.principal import Principal
from app.api.context import AppContext
from app.api.http.json_encoding import encode
from app.api.middleware.proxies.base_path import link
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
"""Seconds after which a client should read a running saga again."""

ATTENTION_RETRY_AFTER = 60
"""The same for a saga that needs attention."""


def saga_url(saga_id: str) -> str:
    """Return the URL at which the current request's client reads a saga."""
    return link(f"/sagas/{saga_id}")


def status_headers(status: SagaStatus) -> dict[str, str]:
    """Return the headers that show a saga's status without its body.

    A saga that needs attention is answered 202 too, but nothing happens until an operator acts, so a client that polls
    would wait for ever. `Link` leads to what the client can do.
    """
    headers = {"Saga-Status": status.value}
    if status is SagaStatus.NEEDS_ATTENTION:
        headers["Link"] = f'<{link(f"/problems/{status.value}")}>; rel="help"'
    return headers


def outcome(view: SagaView, *, replayed: bool = False, extra: Mapping[str, str] | None = None) -> Response:
    """Return 201 for a completed saga, a problem for a compensated one, else 202.

    The answer depends only on the stored saga, including its request id, so that a repeat gets the same bytes from any
    replica and after any restart.
    """
    headers = status_headers(view.state.status) | dict(extra or {})
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    if view.state.status is SagaStatus.COMPENSATED:
        problem = failed(view) if view.unreadable is None else _unreadable(view)
        problem.headers = {**problem.headers, **headers}
        return problem.response(view.saga.request_id or view.saga.id)
    if view.state.status is SagaStatus.COMPLETED:
        headers["Location"] = saga_url(view.saga.id)
        return Response(encode(saga_json(view)), 201, headers, "application/json")
    return accepted(view, extra=headers)


def accepted(view: SagaView, *, extra: Mapping[str, str] | None = None) -> Response:
    """Return 202 with the saga: it is stored, and not finished."""
    needs_attention = view.state.status is SagaStatus.NEEDS_ATTENTION
    headers = {
        **status_headers(view.state.status),
        "Location": saga_url(view.saga.id),
        "Retry-After": str(ATTENTION_RETRY_AFTER if needs_attention else RETRY_AFTER),
        **(extra or {}),
    }
    return Response(encode(saga_json(view)), 202, headers, "application/json")


def failed(view: SagaView) -> Problem:
    """Return the problem of a compensated saga."""
    failure = view.state.failure or Failure(
        step=None, code="unknown", message="The checkout failed.", kind=FailureKind.UNUSABLE
    )
    name = name_of(failure)
    url = saga_url(view.saga.id)
    return Problem(
        name,
        " ".join(
            (sentence(failure.message), "Every step that took effect was compensated.", PROBLEMS[name].to_do)
        ),
        code=failure.code,
        members={"instance": url, "saga": saga_json(view)},
        headers={"Location": url},
    )


def _unreadable(view: SagaView) -> Problem:
    """Return the problem of a compensated checkout of which this release can't read why."""
    url = saga_url(view.saga.id)
    return Problem(
        "saga_unreadable", members={"instance": url, "saga": saga_json(view)}, headers={"Location": url}
    )


async def wait_for(
    service: AppContext, saga_id: str, *, seconds: float, caller: Principal, storage_timeout: float
) -> SagaView | None:
    """Return a saga once it is inactive, or as it is after `seconds`, or sooner if the process is closing.

    Raise `LogUnavailable` if storage takes longer than `storage_timeout`. Cancelling the wait, or the request, doesn't
    affect the saga.
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
    """Return what a read of storage returns. Raise `LogUnavailable` if it takes longer than `storage_timeout`."""
    try:
        async with asyncio.timeout(storage_timeout):
            return await reading
    except TimeoutError:
        raise LogUnavailable("The saga log has not answered in time.") from None
