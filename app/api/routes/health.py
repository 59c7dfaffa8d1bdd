"""Whether the process lives, and whether it can take work: for whatever restarts it or sends it requests."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.http.described_route import DescribedRoute
from app.api.http.json_encoding import Body, encode
from app.api.middleware.route_rights import public
from app.api.openapi.responses import operation_id
from app.api.readiness import Readiness, ReadyBody

router = APIRouter(generate_unique_id_function=operation_id, tags=["health"], route_class=DescribedRoute)


@dataclass(frozen=True, kw_only=True)
class AliveBody(Body):
    """The process lives."""

    alive: bool


_ALIVE = encode(AliveBody(alive=True))


@router.get("/livez", response_model=AliveBody, response_description="The process is alive.")
@public
async def check_liveness() -> Response:
    """Tell that the process lives.

    It asks nothing of anybody, so an outage elsewhere never restarts the process.
    """
    return Response(_ALIVE, media_type="application/json")


@router.get(
    "/readyz",
    response_model=ReadyBody,
    response_description="It can take work.",
    responses={503: {"model": ReadyBody, "description": "It can't, and why."}},
)
@public
async def check_readiness(request: Request) -> Response:
    """Tell whether the process can take work, and what is wrong where it can't."""
    readiness: Readiness = request.app.state.readiness
    status, content = await readiness.answer(getattr(request.app.state, "service", None))
    return Response(content, status, media_type="application/json")
