"""A request's header fields by their names: gone through once a request, however many ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.types import Scope

Fields = Mapping[bytes, Sequence[bytes]]
"""The lines of each field, by its name in lower case."""

_KEY = "checkout.fields"


def fields_of(scope: Scope) -> Fields:
    """Return a request's fields; what wraps the routes leaves them as they came."""
    fields: dict[bytes, list[bytes]] | None = scope.get(_KEY)
    if fields is None:
        scope[_KEY] = fields = {}
        for name, value in scope["headers"]:
            if name in fields:
                fields[name].append(value)
            else:
                fields[name] = [value]
    return fields


def lines_of(scope: Scope, name: bytes) -> list[str]:
    """Return the lines of one field, in their order; none where it wasn't sent."""
    lines = fields_of(scope).get(name)
    return [] if lines is None else [line.decode("latin-1") for line in lines]
