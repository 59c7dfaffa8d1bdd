"""POST /checkout: parse, admit, make the saga durable, wait for its outcome.

No work lives in the request. Whoever hangs up, or is cut off, leaves the saga as it is; a repeat under
the same Idempotency-Key finds it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.access.principal import Principal
from app.access.scopes import Scope
from app.api.context import AppContext, caller_of, service_of, settings_of
from app.api.http.card_number_check import refuse_card_number_in_header
from app.api.http.described_route import DescribedRoute
from app.api.http.headers.fields import lines_of
from app.api.http.headers.idempotency import fingerprint, idempotency_key, is_of_earlier_release
from app.api.http.headers.prefer import Preference, preference
from app.api.http.headers.simulation import simulation
from app.api.http.json_body import check_headers, read_json
from app.api.http.json_encoding import encode
from app.api.http.parameters import true_or_false
from app.api.http.strict_route import check_query
from app.api.limits import ApiSettings
from app.api.middleware.admission import Admission
from app.api.middleware.rate_limit import RateLimit
from app.api.middleware.request_context import request_id_of
from app.api.middleware.route_rights import requires
from app.api.openapi.checkout import CHECKOUT
from app.api.openapi.responses import headers, operation_id
from app.api.problems.problem import Problem
from app.api.problems.validation import NO_SAGA, InvalidValue, parameter_problem
from app.api.schemas.order import Order
from app.api.schemas.outcome import accepted, outcome, saga_url, status_headers, wait_for
from app.api.schemas.plan import PlanBody, plan_of
from app.api.schemas.saga_body import SagaBody
from app.operations.saga_view import SagaView
from app.operations.starting import StartedSaga
from app.saga.model.errors import LogUnavailable
from app.telemetry.trace_context import accepted_traceparent

router = APIRouter(generate_unique_id_function=operation_id, tags=["checkout"], route_class=DescribedRoute)

_PLACED = ("Location", "Saga-Status", "Idempotent-Replayed", "Preference-Applied")


@router.post(
    "/checkout",
    status_code=201,
    response_model=SagaBody,
    response_description="The checkout completed.",
    responses={
        200: {"model": PlanBody, "description": "The plan (dry_run=true)."},
        201: headers(*_PLACED),
        202: {
            "model": SagaBody,
            "description": "The saga is durable and not finished: it is still running, or Saga-Status is "
            "`needs_attention` and an operator has to act.",
            **headers(*_PLACED, "Retry-After", "Link"),
        },
    },
    openapi_extra=CHECKOUT,
)
@requires(Scope.CHECKOUT)
async def place_checkout(request: Request) -> Response:
    """Check an order out: charge, reserve and ship, or undo what was done.

    Send an Idempotency-Key, and the same one in every repeat: a repeat never charges twice, and gets the
    first request's answer.
    """
    settings, service = settings_of(request), service_of(request)
    scope = request.scope
    dry_run = _dry_run(request) if scope["query_string"] else False
    check_headers(request, max_bytes=settings.max_body_bytes)
    keys, simulations = lines_of(scope, b"idempotency-key"), lines_of(scope, b"x-simulate")
    refuse_card_number_in_header("Idempotency-Key", keys)
    refuse_card_number_in_header("X-Simulate", simulations)
    key = idempotency_key(keys, required=settings.require_idempotency_key and not dry_run)
    simulate = simulation(simulations, allowed=settings.simulate_allowed)
    if dry_run:
        order, _ = await _order(request, settings)
        return Response(encode(plan_of(order, service.starter.definition)), media_type="application/json")

    caller = caller_of(request).tenant
    rate: RateLimit = request.app.state.rate
    rate.take(caller)
    admission: Admission = request.app.state.admission
    admission.check(service, caller=caller, key=key)  # before the body is read
    order, body = await _order(request, settings)
    given = order.saga_input()
    if simulate is not None:
        given["simulate"] = simulate
    if trace := accepted_traceparent(lines_of(scope, b"traceparent")):
        given["traceparent"] = trace
    asked: dict[str, Any] = {"caller": caller, "method": "POST", "path": "/checkout", "body": body}
    prefer = preference(lines_of(scope, b"prefer"))
    wait = prefer.seconds(settings.wait_seconds, at_most=settings.max_wait_seconds)
    until = asyncio.get_running_loop().time() + wait
    admission.check(service, caller=caller, key=key)  # and behind it, as it may trickle in
    try:
        placed = await service.starter.start(
            given,
            caller=caller,
            idempotency_key=key,
            fingerprint=fingerprint(**asked) if key else None,
            is_of_earlier_release=partial(is_of_earlier_release, **asked),
            request_id=request_id_of(request),
            log_timeout=settings.storage_timeout_seconds,
            seconds=wait,
            closing=service.closing,
        )
    except LogUnavailable as error:
        raise _not_stored(error, key) from None
    view = placed.view or await _view(service, settings, placed, caller_of(request), until)
    return _answer(placed, view, prefer, settings)


def _dry_run(request: Request) -> bool:
    check_query(request, ("dry_run",), outcome=NO_SAGA)
    try:
        return true_or_false(request.query_params.get("dry_run", "false"))
    except InvalidValue as refused:
        raise parameter_problem("dry_run", refused.code, refused.words, outcome=NO_SAGA) from None


async def _order(request: Request, settings: ApiSettings) -> tuple[Order, object]:
    """Return the order, and the body as it was sent."""
    body = await read_json(request, max_bytes=settings.max_body_bytes)
    return Order.of(body, max_items=settings.max_items), body


def _answer(placed: StartedSaga, view: SagaView, prefer: Preference, settings: ApiSettings) -> Response:
    """Answer with the saga as it is."""
    applied = prefer.applied(at_most=settings.max_wait_seconds)
    if prefer.respond_async and not placed.replayed:
        return accepted(view, extra=applied)
    if placed.replayed and not view.inactive and not prefer.respond_async:
        url = saga_url(placed.saga_id)
        raise Problem(
            "checkout_in_progress",
            members={"saga_url": url},
            headers={"Location": url, **status_headers(view.state.status), **applied},
        )
    return outcome(view, replayed=placed.replayed, extra=applied)


async def _view(
    service: AppContext, settings: ApiSettings, placed: StartedSaga, caller: Principal, until: float
) -> SagaView:
    """Wait for the saga for what is left of the time that the caller prefers."""
    url = saga_url(placed.saga_id)
    try:
        view = await wait_for(
            service,
            placed.saga_id,
            seconds=max(0.0, until - asyncio.get_running_loop().time()),
            caller=caller,
            storage_timeout=settings.storage_timeout_seconds,
        )
        if view is not None:
            return view
    except LogUnavailable:
        pass
    raise Problem(
        "storage_unavailable",
        "The checkout is stored and continues, but its status can't be read now. Follow it at `saga_url`.",
        members={"saga_url": url},
        headers={"Location": url},
    )


def _not_stored(error: LogUnavailable, key: str | None) -> Problem:
    if error.stored is False:
        return Problem(
            "storage_unavailable", "Nothing was stored, so nothing will happen: send the request again."
        )
    doubt = "Whether the checkout was stored is not known yet."
    if key is None:
        return Problem(
            "storage_unavailable",
            f"{doubt} Look for the order with GET /sagas?order_id= before you send it again, or send it again: "
            "one order is never in two checkouts at once.",
        )
    return Problem(
        "storage_unavailable",
        f"{doubt} Repeat it with the same Idempotency-Key to find out: it never charges twice.",
    )
