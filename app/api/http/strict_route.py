"""A route that refuses unknown parameters: a misspelt `dry_run` must not charge, a misspelt filter must not list all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app.api.context import caller_of, settings_of
from app.api.http.card_number_check import refuse_card_numbers_in_fields
from app.api.http.described_route import DescribedRoute
from app.api.http.json_body import check_headers, read_json
from app.api.http.parameters import known_form
from app.api.middleware.route_rights import authorize, rights_of
from app.api.problems.validation import NOTHING_DONE, parameter_problem


def check_query(request: Request, known: Collection[str], *, outcome: str = NOTHING_DONE) -> None:
    """Raise a problem if a query parameter is unknown, is repeated, or holds a card number.

    `outcome` tells the client what became of the request.
    """
    if not request.scope["query_string"]:
        return
    given = request.query_params.multi_items()
    refuse_card_numbers_in_fields(given)
    found: set[str] = set()
    for name, _ in given:
        if name not in known:
            names = ", ".join(known) or "none"
            detail = f"Remove this parameter, or fix its name. Known here: {names}."
            raise parameter_problem(name, "unknown_parameter", detail, outcome=outcome)
        if name in found:
            raise parameter_problem(name, "repeated_parameter", "Give this parameter once.", outcome=outcome)
        found.add(name)


class StrictRoute(DescribedRoute):
    """Refuses query parameters that its function doesn't declare, and reads JSON strictly.

    It also checks the caller's rights. `Authentication` has done so by the path; this check is by the route itself.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the framework's handler, with the checks before it."""
        handle = super().get_route_handler()
        known = tuple(_names(self.dependant.query_params))
        rights = rights_of(self)
        has_body = self.body_field is not None

        async def strict(request: Request) -> Response:
            authorize(caller_of(request), rights)
            check_query(request, known)
            if has_body:
                if (saga_id := request.path_params.get("saga_id")) is not None:
                    known_form(saga_id)  # a saga that can't exist is 404, whatever the body
                most = settings_of(request).max_body_bytes
                check_headers(request, max_bytes=most)
                request = _ReadRequest(request, await read_json(request, max_bytes=most))
            return await handle(request)

        return strict


def _names(parameters: Iterable[Any]) -> Iterator[str]:
    """Yield the names of query parameters, or of a model's members."""
    for parameter in parameters:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from model.model_fields
        else:
            yield parameter.alias


class _ReadRequest(Request):
    """A request whose body has been read. The framework gets the JSON value."""

    def __init__(self, request: Request, content: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._content = content

    async def body(self) -> bytes:
        return b"read"

    async def json(self) -> Any:
        return self._content
