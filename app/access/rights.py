"""What a request needs: the vocabulary in which each route states who may use it."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.scopes import Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Rights:
    """What a route needs of its caller.

    `scope` is what the caller's key must have; None lets everybody in, with a key or without. `all_tenants` asks for
    a key that sees every tenant's sagas. `read_token` also lets in the token of the one saga that the path names.
    `stale_if_error` accepts a key as it was last looked up while the database is unavailable.
    """

    scope: Scope | None
    all_tenants: bool = False
    read_token: bool = False
    stale_if_error: bool = False

    @property
    def public(self) -> bool:
        """Whether everybody may send the request."""
        return self.scope is None


PUBLIC = Rights(scope=None)
CLOSED = Rights(scope=Scope.OPERATE, all_tenants=True)
"""What a route needs that states nothing, and a path that is none."""
