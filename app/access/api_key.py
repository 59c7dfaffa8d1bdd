"""An API key as it is stored, and the port of the store that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.access.principal import Principal
from app.access.scopes import Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key without its secret, of which `digest` is the SHA-256 in hexadecimal digits.

    `caller`, `who` and `everyone` are the API's and the table's names for the principal's tenant, subject and
    all_tenants. `created_by` is the subject that created the key, and `created_by_key` the id of the key it used: None
    where it used none (the command line, or a service without keys). Both are None for a key that an early release
    created.
    """

    id: str
    prefix: str
    digest: str
    caller: str
    who: str
    scopes: frozenset[Scope]
    everyone: bool
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    created_by: str | None = None
    created_by_key: str | None = None

    def active(self, now: datetime) -> bool:
        """Whether requests are accepted with it: it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def principal(self) -> Principal:
        """Return the principal of a request with this key."""
        return Principal(
            tenant=self.caller,
            subject=self.who,
            scopes=self.scopes,
            all_tenants=self.everyone,
            key_id=self.id,
        )


class KeyStore(Protocol):
    """Where keys are stored. Every method may raise `LogUnavailable`."""

    async def add(self, new: Callable[[Sequence[ApiKey]], ApiKey]) -> ApiKey:
        """Store the key that `new` returns, and return it.

        `new` is given all keys, active or not. Where it raises, nothing is stored. Between that call and the end of
        the transaction no process adds another key.
        """

    async def find(self, prefix: str) -> ApiKey | None:
        """Return the key with that prefix."""

    async def all(self) -> list[ApiKey]:
        """Return all keys, active or not, oldest first."""

    async def prefixes(self) -> frozenset[str]:
        """Return the prefixes of all keys that have not been revoked."""

    async def any(self) -> bool:
        """Whether a key was ever created."""

    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        """Revoke a key unless it is revoked already; return it, or None where there is no such key."""

    async def record_use(self, key_id: str, *, at: datetime) -> None:
        """Store when a key was last used."""
