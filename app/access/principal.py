"""Who asks: the caller of a request, what it may do, and whose sagas it sees."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a caller may do."""

    CHECKOUT = "checkout"  # begin checkouts, and read its own
    READ = "read"  # read sagas and events
    OPERATE = "operate"  # cancel, retry, resolve; manage webhooks
    KEYS = "keys"  # make, list and revoke keys


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who asks. `name` is whose sagas it begins and sees: the scope of its keys and orders.

    `who` is the person or program that the trail names for an operator's action. With `everyone` it
    sees, and where it may operates on, every caller's sagas. `key_id` is the key that it asks with, if any.
    """

    name: str = ""
    who: str = ""
    scopes: frozenset[Scope] = frozenset()
    everyone: bool = False
    key_id: str | None = None

    def may(self, scope: Scope) -> bool:
        """Whether it has this scope; whoever may do anything may also read what it sees."""
        return scope in self.scopes or (scope is Scope.READ and bool(self.scopes))

    def sees(self, owner: str) -> bool:
        """Whether a saga of that caller's is visible to this one."""
        return self.everyone or owner == self.name


ANONYMOUS = Principal(who="local", scopes=frozenset(Scope), everyone=True)
"""Whoever reaches a service without keys, which therefore opens only on loopback."""
