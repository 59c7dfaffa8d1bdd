"""The page's style sheets and scripts."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.middleware.route_rights import public
from app.api.problems.problem import Problem
from app.dashboard.rendering import static

router = APIRouter(include_in_schema=False)

_MEDIA = {".svg": "image/svg+xml", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_YEAR = "public, max-age=31536000, immutable"


@router.get("/dashboard/static/{name}")
@public
async def read_static(request: Request, name: str) -> Response:
    """Return a style sheet or a script; its URL changes with its bytes."""
    try:
        content, version = static(name)
    except (FileNotFoundError, ValueError, OSError):
        raise Problem("not_found") from None
    suffix = name[name.rfind(".") :]
    if suffix not in _MEDIA:
        raise Problem("not_found")
    caching = _YEAR if request.query_params.get("v") == version else "no-cache"
    return Response(content, headers={"Cache-Control": caching}, media_type=_MEDIA[suffix])
