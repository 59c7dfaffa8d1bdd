"""Whether the process lives, and whether it can take work: for whatever restarts it or sends it requests."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.encode import Body, SparseBody, encode
from app.api.problem import Problem
from app.api.service import service_of, settings_of

_logger = logging.getLogger(__name__)
router = APIRouter(tags=["health"])


@dataclass(frozen=True, kw_only=True)
class CheckBody(SparseBody):
    """One check; `detail` says what is wrong."""

    ok: bool
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadyBody(Body):
    """Whether the process can take work."""

    ready: bool
    checks: dict[str, CheckBody]


@dataclass(frozen=True, kw_only=True)
class AliveBody(Body):
    """The process lives."""

    alive: bool


@router.get("/livez")
async def check_liveness() -> Response:
    """Tell that the process lives.

    It asks nothing of anybody, so an outage elsewhere never restarts the process.
    """
    return Response(encode(AliveBody(alive=True)), media_type="application/json")


@router.get("/readyz")
async def check_readiness(request: Request) -> Response:
    """Tell whether the process can take work, and what is wrong where it can't."""
    checks = await _checks(request)
    body = ReadyBody(ready=all(check.ok for check in checks.values()), checks=checks)
    return Response(encode(body), 200 if body.ready else 503, media_type="application/json")


async def _checks(request: Request) -> dict[str, CheckBody]:
    try:
        service = service_of(request)
        async with asyncio.timeout(settings_of(request).storage_patience_seconds):
            found = await service.health.checks()
    except Problem:
        return {"started": CheckBody(ok=False, detail="The process is not up yet.")}
    except TimeoutError:
        return {"checks": CheckBody(ok=False, detail="The checks took too long.")}
    except Exception:
        _logger.exception("the health checks broke down")
        return {"checks": CheckBody(ok=False, detail="The checks broke down; the log says how.")}
    return {name: CheckBody(ok=wrong is None, detail=wrong) for name, wrong in found.items()}
