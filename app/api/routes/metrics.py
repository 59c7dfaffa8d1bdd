"""GET /metrics: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app.access.scopes import Scope
from app.api.context import service_of
from app.api.middleware.route_rights import requires
from app.api.openapi.responses import operation_id, problems
from app.api.problems.problem import Problem

router = APIRouter(generate_unique_id_function=operation_id, tags=["health"])


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    response_description="Prometheus text, or OpenMetrics if Accept asks for it.",
    responses={200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}},
    openapi_extra=problems("not_found"),
)
@requires(Scope.READ, stale_if_error=True)
async def read_metrics(request: Request) -> Response:
    """Return the process's metrics as Prometheus text, or as OpenMetrics if `Accept` asks for it.

    It works while the database is unavailable; then `checkout_backlog_up` is 0.
    """
    found = service_of(request).metrics
    if found is None:
        raise Problem("not_found")
    content, media_type = await found.render(request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": media_type})
