"""A route that makes the models of its answers only when the API is described: no answer goes through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute


class DescribedRoute(APIRoute):
    """Answers with the bytes that its function returns. What `response_model` and `responses` say is for the description.

    To make their models took a fifth of the start of a process.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._options = options
        super().__init__(path, endpoint, **options | {"response_model": None, "responses": None})

    def described(self) -> APIRoute:
        """Return this route with the models of its answers."""
        return APIRoute(self.path, self.endpoint, **self._options)


def with_their_answers(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Return routes as the description needs them."""
    return [route.described() if isinstance(route, DescribedRoute) else route for route in routes]
