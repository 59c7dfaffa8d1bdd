"""What each problem means, as a page, and the API's description."""

from __future__ import annotations

import html
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.api.http.json_encoding import encode
from app.api.middleware.proxies.base_path import base_path, reached_under
from app.api.middleware.route_rights import public
from app.api.openapi.responses import operation_id, problems
from app.api.problems.catalogue import NOTICES, PROBLEMS
from app.api.problems.problem import Problem

router = APIRouter(generate_unique_id_function=operation_id, tags=["pages"])

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>{title}</h1><p><code>{name}</code> · {status} {phrase}</p>
<h2>What happened</h2><p>{happened}</p><h2>What to do</h2><p>{to_do}</p>{retry}</main></body></html>
"""
_ANY_PATH = "/any-base-path.invalid"
"""The placeholder for a client's base path in the cached description: clients may have different ones."""
_RETRY = "<p>The answer's <code>Retry-After</code> is {seconds} s.</p>"


@router.get(
    "/problems/{name:path}",  # a path below is no problem's: 404 for everybody who reads it
    response_class=HTMLResponse,
    response_description="A page.",
    openapi_extra=problems("not_found"),
)
@public
async def read_problem(
    name: Annotated[
        str,
        Path(
            description="The last part of a problem's type.",
            json_schema_extra={"enum": [*PROBLEMS, *NOTICES]},
        ),
    ],
) -> Response:
    """Say in words what a problem's `type` means, and what to do about it."""
    row = PROBLEMS.get(name) or NOTICES.get(name)
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


@router.get("/openapi.json", include_in_schema=False)
@public
async def read_description(request: Request) -> Response:
    """Give the API's description, which takes milliseconds to write: it is written once, but for the base path."""
    app, path = request.app, base_path()
    name = "description_under_a_path" if path else "description"
    written: list[bytes] | None = getattr(app.state, name, None)
    if written is None:
        with reached_under(_ANY_PATH if path else ""):
            written = encode(app.openapi()).split(_ANY_PATH.encode())
        setattr(app.state, name, written)
    return Response(path.encode().join(written), media_type="application/json")
