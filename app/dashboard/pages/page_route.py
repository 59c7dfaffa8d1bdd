"""A route whose answer is a page, also if it is a problem."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from app.api.context import service_of
from app.api.http.strict_route import StrictRoute
from app.api.problems.handlers import problem_of
from app.api.problems.problem import Problem
from app.dashboard.rendering import problem_page
from app.saga.model.errors import LogUnavailable


class PageRoute(StrictRoute):
    """Shows a problem as a page, with a link back to where the form was, or to the list."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the strict handler, its problems shown as pages."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except LogUnavailable:
                problem = Problem("storage_unavailable")
            except (Problem, RequestValidationError) as error:
                problem = problem_of(error)
            saga_id = request.path_params.get("saga_id") if request.method == "POST" else None
            back = f"/dashboard/sagas/{saga_id}" if saga_id else "/"
            return problem_page(request, problem, now=service_of(request).now(), back=back)

        return shown
