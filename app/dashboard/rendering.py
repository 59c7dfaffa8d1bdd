"""Templates into answers, with the headers that every page has."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app.access.scopes import Scope
from app.api.context import caller_of
from app.api.middleware.proxies.base_path import base_path, link
from app.api.problems.catalogue import PROBLEMS
from app.api.problems.problem import Problem
from app.api.schemas.operator_requests import LONGEST_REASON
from app.api.schemas.order import LONGEST_REFERENCE
from app.dashboard import words
from app.dashboard.guard import token_of
from app.saga.model.attention import sentence
from app.values.money import money

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",  # or a browser would say that our own forms come from nowhere
    "Cache-Control": "private, no-store",
    "Vary": "Cookie",
}

_environment = Environment(
    loader=PackageLoader("app.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "money": lambda saga: money(saga["amount"], saga["currency"]),
    "lasting": words.lasting,
    "instant": lambda at: f"{at:%Y-%m-%d %H:%M:%S} UTC",
    "machine": lambda at: at.isoformat(),
}
_environment.globals |= {
    "LONGEST_REASON": LONGEST_REASON,
    "LONGEST_REFERENCE": LONGEST_REFERENCE,
    "STATUSES": words.STATUSES,
    "MARKS": words.MARKS,
    "said": words.said,
    "STEP_STATUSES": words.STEP_STATUSES,
    "took": words.took,
    "ago": words.ago,
    "sentence": sentence,
}


@cache
def static(name: str) -> tuple[bytes, str]:
    """Return a static file and the version of its bytes; raise `FileNotFoundError`."""
    file = resources.files("app.dashboard") / "static" / name
    if not file.is_file():
        raise FileNotFoundError(name)
    content = file.read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


def _static_url(name: str) -> str:
    return link(f"/dashboard/static/{name}?v={static(name)[1]}")


_environment.globals |= {"static": _static_url, "link": link}


def compile_templates() -> None:
    """Compile every template, so that no page's first answer has to. Safe in a thread."""
    for name in _environment.list_templates():
        _environment.get_template(name)


def template(name: str) -> Template:
    """Return a template."""
    return _environment.get_template(name)


def page(request: Request, name: str, *, status: int = 200, now: datetime, **members: Any) -> HTMLResponse:
    """Return a page. Its templates know the caller, and what it may do."""
    caller = caller_of(request)
    html = template(name).render(
        caller=caller,
        may_operate=caller.has_scope(Scope.OPERATE),
        token=token_of(request),
        now=now,
        **members,
    )
    return HTMLResponse(html, status, HEADERS)


def problem_page(request: Request, problem: Problem, *, now: datetime, back: str = "/") -> HTMLResponse:
    """Return a problem as a page."""
    row = PROBLEMS[problem.name]
    answer = page(
        request,
        "problem.html",
        status=row.status,
        now=now,
        title=row.title,
        detail=problem.detail or f"{row.happened} {row.to_do}",
        back=back,
        request_id=request.scope["state"]["request_id"],
    )
    if row.retry_after is not None:
        answer.headers["Retry-After"] = str(row.retry_after)
    return answer


def here_of(request: Request) -> str:
    """Return the URL that the service's own paths come behind, as this request has it."""
    return f"{request.url.scheme}://{request.url.netloc}{base_path()}"
