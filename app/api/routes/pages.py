"""Pages for people: what each problem means, and the API's documentation."""

from __future__ import annotations

import html
from http import HTTPStatus

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.api.problem import Problem
from app.api.problems import PROBLEMS

router = APIRouter(tags=["pages"])

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>{title}</h1><p><code>{name}</code> · {status} {phrase}</p>
<h2>What happened</h2><p>{happened}</p><h2>What to do</h2><p>{to_do}</p>{retry}</main></body></html>
"""
_RETRY = "<p>The answer's <code>Retry-After</code> is {seconds} s.</p>"
_DOCS_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data: https://fastapi.tiangolo.com; "
    "script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "frame-ancestors 'none'"
)


@router.get("/problems/{name}")
async def read_problem(name: str) -> Response:
    """Say in words what a problem's `type` means, and what to do about it."""
    row = PROBLEMS.get(name)
    if row is None:
        raise Problem("not_found")
    words = {
        "name": name,
        "title": row.title,
        "status": row.status,
        "phrase": HTTPStatus(row.status).phrase,
        "happened": row.happened,
        "to_do": row.to_do,
    }
    shown = {key: html.escape(str(value)) for key, value in words.items()}
    retry = _RETRY.format(seconds=row.retry_after) if row.retry_after is not None else ""
    return HTMLResponse(_PAGE.format(**shown, retry=retry), headers={"Cache-Control": "public, max-age=3600"})


@router.get("/docs", include_in_schema=False)
async def read_docs(request: Request) -> Response:
    """Show the API, ready to try out."""
    page = get_swagger_ui_html(openapi_url="openapi.json", title=f"{request.app.title} API")
    page.headers["Content-Security-Policy"] = _DOCS_POLICY
    return page
