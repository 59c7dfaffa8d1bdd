"""Who may use a route: stated with the route, and checked before the route runs.

    @router.get("/sagas")
    @requires(Scope.READ)
    async def list_sagas(…): …

A route that states nothing is open only to operators who see everything. So is a path without a route.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from app.access.principal import Principal
from app.access.rights import CLOSED, PUBLIC, Rights
from app.access.scopes import Scope
from app.api.problems.problem import Problem

_ATTRIBUTE = "__rights__"
_CACHED = 1024

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def requires(
    scope: Scope, *, all_tenants: bool = False, read_token: bool = False, stale_if_error: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """State that a route needs a key with this scope, and the other members of `Rights`."""
    return _stating(
        Rights(scope=scope, all_tenants=all_tenants, read_token=read_token, stale_if_error=stale_if_error)
    )


def public(endpoint: Endpoint) -> Endpoint:
    """State that everybody may use a route, with or without a key."""
    return _stating(PUBLIC)(endpoint)


def _stating(rights: Rights) -> Callable[[Endpoint], Endpoint]:
    def state(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, rights)
        return endpoint

    return state


def stated_rights(route: APIRoute) -> Rights | None:
    """Return what a route states, or None if it states nothing and is closed."""
    rights: Rights | None = getattr(route.endpoint, _ATTRIBUTE, None)
    return rights


def rights_of(route: APIRoute) -> Rights:
    """Return what a route needs."""
    return stated_rights(route) or CLOSED


def authorize(caller: Principal, rights: Rights) -> None:
    """Raise a problem if a caller lacks what a route needs."""
    if rights.scope is not None and not caller.has_scope(rights.scope):
        raise Problem("forbidden", f"This needs a key with the scope `{rights.scope}`. Nothing was changed.")
    if rights.all_tenants and not caller.all_tenants:
        raise Problem(
            "forbidden",
            "This needs a key that sees everyone's sagas (`everyone`); yours sees its own caller's. "
            "Nothing was changed.",
        )


@dataclass(frozen=True, slots=True)
class Matched:
    """What a request needs, and the parameters in its path."""

    rights: Rights = CLOSED
    path_params: dict[str, str] = field(default_factory=dict)


_NO_ROUTE = Matched()


class _RightsOfPath:
    """A route's methods, what it needs, and its paths, including those with an empty segment."""

    def __init__(self, route: APIRoute) -> None:
        self.methods = route.methods or set()
        self.rights = rights_of(route)
        self.pattern = re.compile(route.path_regex.pattern.replace("[^/]+", "[^/]*"))


class RouteRights:
    """What each route of an application needs. Routes are indexed by their first segment."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._by_segment: dict[str, list[_RightsOfPath]] = defaultdict(list)
        for context in iter_route_contexts(list(routes)):
            route = context.original_route
            if isinstance(route, APIRoute):
                self._by_segment[_first_segment(route.path)].append(_RightsOfPath(route))
        self.of = lru_cache(maxsize=_CACHED)(self.find)

    def find(self, method: str, path: str) -> Matched:
        """Return what a request needs, by the route that the router would choose. `of` is the same with a cache.

        OPTIONS needs what the path's first route needs. A path that differs from a route's only by an empty segment
        (`/sagas/`) needs the same, so that a caller who may use the route gets 404 there.
        """
        found = _NO_ROUTE
        for route in self._by_segment.get(_first_segment(path), ()):
            match = route.pattern.fullmatch(path)
            if match is None:
                continue
            if method in route.methods or method == "OPTIONS":
                return Matched(route.rights, match.groupdict())
            if route.rights == PUBLIC:
                found = Matched(PUBLIC)  # another method: 405 for everybody
        return found


def _first_segment(path: str) -> str:
    return path[1:].partition("/")[0]
