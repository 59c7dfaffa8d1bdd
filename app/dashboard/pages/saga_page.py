"""One saga: its state, its timeline and trail, and what an operator can do about it."""

from __future__ import annotations

import json
import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of
from app.api.http.json_encoding import encode
from app.api.http.parameters import SagaId
from app.api.middleware.proxies.base_path import link
from app.api.middleware.route_rights import requires
from app.api.problems.problem import Problem
from app.api.routes.operate import carry_out
from app.api.schemas.operator_requests import Operation, Resolution
from app.api.schemas.outcome import with_timeout
from app.api.schemas.saga_body import TrailBody
from app.api.schemas.saga_json import Shown, saga_json, trail_line
from app.checkout.presentation import subject
from app.dashboard.guard import form_of
from app.dashboard.pages.page_route import PageRoute
from app.dashboard.rendering import here_of, page
from app.dashboard.timeline import timeline
from app.dashboard.words import now_is, stuck_steps
from app.operations.operator_rules import RULES, OperatorVerb
from app.saga.model.status import FINAL

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_TURNING = re.compile(r"[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@router.get("/dashboard/sagas/{saga_id}")
@requires(Scope.READ)
async def saga_page(request: Request, saga_id: SagaId, done: str | None = None) -> Response:
    """Show one saga: what it waits for, its timeline, its trail, and what can be done about it."""
    service, settings = service_of(request), settings_of(request)
    view = await with_timeout(
        service.reader.get(saga_id, caller=caller_of(request)),
        settings.storage_timeout_seconds,
    )
    if view is None:
        raise Problem("not_found")
    now = service.now()
    return page(
        request,
        "saga.html",
        now=now,
        view=view,
        trail=[TrailBody(**{**trail_line(event), "at": event.at}) for event in view.events],
        saga={**subject(view.saga), "id": saga_id},
        state=view.state,
        sentence_now=now_is(view, now),
        line=timeline(view, now),
        stuck_steps=stuck_steps(view),
        seq=view.state.seq,
        inactive=view.inactive,
        ended=view.state.status in FINAL,
        cancellable=view.state.cancellable and view.cancel is None,
        done=done if done in set(OperatorVerb) else None,
        raw=_raw(saga_json(view)),
        curl=f"curl {here_of(request)}/sagas/{saga_id}",
        keyed=bool(caller_of(request).tenant),
    )


def _raw(body: Shown) -> str:
    """Return a body's JSON to be read; characters that change the direction of writing, or end a line, are escaped."""
    text = json.dumps(json.loads(encode(body)), indent=2, ensure_ascii=False)
    return _TURNING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@router.post("/dashboard/sagas/{saga_id}/{action}")
@requires(Scope.OPERATE)
async def act(request: Request, saga_id: SagaId, action: str) -> Response:
    """Carry out an operator's action on a saga, and show the saga."""
    if action not in set(OperatorVerb):
        raise Problem("not_found")
    form = await form_of(request)
    seen = form.pop("seen", "")
    if not (seen.isascii() and seen.isdecimal() and len(seen) < 10):
        raise Problem("invalid_request", "The form is not whole: open the page again.")
    given = {name: line for name, value in form.items() if (line := value.replace("\n", " ").strip())}
    verb = OperatorVerb(action)
    form_model = Resolution if RULES[verb].names_step else Operation
    await carry_out(request, verb, saga_id, form_model.of(given), seen={int(seen)})
    return RedirectResponse(link(f"/dashboard/sagas/{saga_id}?done={action}"), 303)
