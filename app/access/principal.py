"""The principal of a request: which tenant it belongs to, what it may do, and whose sagas it sees."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.scopes import Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who sends a request.

    `tenant` owns the sagas that it starts and sees; idempotency keys and orders are unique within a tenant.
    (The API and the database call a tenant `caller`.) `subject` is the person or program that the trail names for an
    operator's action (`who` there). With `all_tenants` it sees every tenant's sagas, and operates on them where its
    scopes allow (`everyone` there). `key_id` is the API key that authenticated it, if any.
    """

    tenant: str = ""
    subject: str = ""
    scopes: frozenset[Scope] = frozenset()
    all_tenants: bool = False
    key_id: str | None = None

    def has_scope(self, scope: Scope) -> bool:
        """Whether it has this scope. Any scope includes reading."""
        return scope in self.scopes or (scope is Scope.READ and bool(self.scopes))

    def can_see(self, tenant: str) -> bool:
        """Whether it sees the sagas of this tenant."""
        return self.all_tenants or tenant == self.tenant


ANONYMOUS = Principal(subject="local", scopes=frozenset(Scope), all_tenants=True)
"""Every request to a service without keys, which therefore answers on loopback only."""
