"""The API's documentation, ready to try out."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from app.api.middleware.route_rights import public
from app.dashboard.rendering import template

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/docs")
@public
async def read_docs() -> Response:
    """Show the API. No script comes from elsewhere: it would act with the reader's session."""
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "private, max-age=3600",  # its links are this client's
    }
    return HTMLResponse(template("docs.html").render(), headers=headers)
