"""API keys: creating, verifying and revoking them.

A key reads `ck_{prefix}_{secret}`: eight characters to find it by, and 256 random bits. Its text is shown once; the
database keeps a hash. Random bits can't be guessed, so one round of SHA-256 is as safe as a slow hash, and costs a
checkout nothing. Keys are never deleted, only revoked: revoking the last one doesn't open the service.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from app.access.api_key import ApiKey, KeyStore
from app.access.key_policy import MAX_DAYS, KeyRefused, check, descendants
from app.access.principal import Principal
from app.access.scopes import Scope
from app.access.unknown_credentials import ExistingNames, UnknownCredentials
from app.saga.model.errors import LogUnavailable
from app.values.card_numbers import holds_card_number

__all__ = ["ApiKey", "KeyRefused", "KeyStore", "Keys"]

T = TypeVar("T")

USE_RESOLUTION = timedelta(minutes=1)
"""A use is stored unless the last stored one is more recent than this."""

_KEY = re.compile(r"ck_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
"""The form of a tenant's and of a subject's name."""

_NO_HASH = bytes(32)


class Keys:
    """Creates, verifies and revokes keys. Look-ups are cached for `cache_seconds`; a revocation takes effect within it."""

    def __init__(
        self,
        store: KeyStore,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        cache_seconds: float = 5.0,
        unknown: UnknownCredentials | None = None,
    ) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id
        self.unknown = unknown or UnknownCredentials(seconds=0, per_second=0)
        self._existing = ExistingNames(store.prefixes)
        self._cache_for = timedelta(seconds=cache_seconds)
        self._cached: dict[str, tuple[datetime, ApiKey]] = {}
        self._closed = False
        self._open_until: datetime | None = None
        self._lookups: dict[str, asyncio.Task[Any]] = {}

    async def create(
        self,
        *,
        caller: str,
        who: str,
        scopes: Iterable[Scope],
        everyone: bool = False,
        expires_at: datetime | None = None,
        maker: Principal | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key; return it with its text, which can't be shown again.

        `maker` is the principal that creates it; None is the command line, which may create any. Raise `KeyRefused`
        where a member is invalid, the key would exceed its maker's, or would lock everybody out.
        """
        wanted, now = frozenset(scopes), self._now()
        _check_members(caller=caller, who=who, scopes=wanted, expires_at=expires_at, now=now)
        prefix = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(8))
        secret = secrets.token_urlsafe(32)
        new = ApiKey(
            id=self._new_id(),
            prefix=prefix,
            digest=_digest(secret),
            caller=caller,
            who=who,
            scopes=wanted,
            everyone=everyone,
            created_at=now,
            expires_at=expires_at,
            created_by="command line" if maker is None else maker.subject,
            created_by_key=None if maker is None else maker.key_id,
        )
        key = await self._store.add(lambda existing: check(new, existing, maker=maker, now=now))
        self._closed = True
        return key, f"ck_{prefix}_{secret}"

    async def list_keys(self) -> list[ApiKey]:
        """Return all keys, active or not, oldest first."""
        return await self._store.all()

    async def revoke(self, key_id: str, *, cascade: bool = False) -> ApiKey | None:
        """Revoke a key; return it, or None where there is no such key.

        With `cascade` the keys created with it, directly or through others, are revoked too. They are revoked first,
        so that after a failure half-way the same call can be repeated.
        """
        if cascade:
            for created in reversed(descendants(key_id, await self._store.all())):
                await self._revoke_one(created.id)
        return await self._revoke_one(key_id)

    async def _revoke_one(self, key_id: str) -> ApiKey | None:
        key = await self._store.revoke(key_id, at=self._now())
        if key is not None:
            self._cached.pop(key.prefix, None)
            self._lookups.pop(key.prefix, None)  # a look-up under way may have read the row before
        return key

    @property
    def cache_seconds(self) -> float:
        """Seconds within which a revocation takes effect everywhere."""
        return self._cache_for.total_seconds()

    async def required(self, *, fresh: bool = False, stale_if_error: bool = False) -> bool:
        """Whether requests need a key: once the first was created, always. `fresh` ignores the cache.

        With `stale_if_error` the last known answer is returned where the store can't be asked.
        """
        now = self._now()
        if not self._closed and (fresh or self._open_until is None or now >= self._open_until):
            try:
                await self._coalesce("", self._look_up_any)
            except LogUnavailable:
                if not stale_if_error or self._open_until is None:
                    raise
        return self._closed

    async def authenticate(
        self, text: str, *, address: str | None = None, fresh: bool = False, stale_if_error: bool = False
    ) -> Principal | None:
        """Return the principal of a key's text, or None where the key isn't valid, for whatever reason.

        `address` is the client's. Raise `TooManyUnknownCredentials` where it sends too many keys that don't exist.
        `fresh` ignores the cache. `stale_if_error` falls back on the cached key, however old, where the store can't be
        asked; `LogUnavailable` is raised where none is cached.
        """
        key = await self.verify(text, address=address, fresh=fresh, stale_if_error=stale_if_error)
        return None if key is None else key.principal()

    async def verify(
        self, text: str, *, address: str | None = None, fresh: bool = False, stale_if_error: bool = False
    ) -> ApiKey | None:
        """Return the active key of a text, or None; raise as `authenticate` does."""
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        prefix, secret = match.groups()
        key = await self._find(prefix, address, fresh=fresh, stale_if_error=stale_if_error)
        now = self._now()
        stored = bytes.fromhex(key.digest) if key else _NO_HASH
        proved = hmac.compare_digest(stored, bytes.fromhex(_digest(secret)))
        if key is None or not proved or not key.active(now):
            return None
        return key

    async def find_active(
        self, prefix: str, *, address: str | None = None, fresh: bool = False
    ) -> ApiKey | None:
        """Return the key with that prefix while it is active; raise `TooManyUnknownCredentials`. `fresh` ignores the cache."""
        key = await self._find(prefix, address, fresh=fresh)
        return key if key is not None and key.active(self._now()) else None

    async def _find(
        self, prefix: str, address: str | None, *, fresh: bool, stale_if_error: bool = False
    ) -> ApiKey | None:
        now = self._now()
        until, key = self._cached.get(prefix, (now, None))
        if key is not None and now < until and not fresh:
            return key

        def look_up() -> Coroutine[Any, Any, ApiKey | None]:
            return self._coalesce(prefix, lambda: self._look_up(prefix))

        if key is None:
            return await self.unknown.find(prefix, address=address, existing=self._existing, look_up=look_up)
        try:
            return await look_up()
        except LogUnavailable:
            if not stale_if_error:
                raise
            return key

    async def _look_up_any(self) -> None:
        now = self._now()
        self._closed = await self._store.any() or self._closed
        self._open_until = now + self._cache_for

    async def _look_up(self, prefix: str) -> ApiKey | None:
        now = self._now()
        key = await self._store.find(prefix)
        if key is None:
            self._cached.pop(prefix, None)
            return None
        if self._lookups.get(prefix) is asyncio.current_task():
            self._cached[prefix] = (now + self._cache_for, key)
        if key.active(now) and (key.last_used_at is None or now - key.last_used_at >= USE_RESOLUTION):
            await self._store.record_use(key.id, at=now)
        return key

    async def _coalesce(self, name: str, look_up: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Share one look-up among concurrent requests: else each would make its own whenever the cache expires."""
        task = self._lookups.get(name)
        if task is None:
            task = self._lookups[name] = asyncio.create_task(look_up())
            task.add_done_callback(lambda done: self._looked_up(name, done))
        found: T = await asyncio.shield(task)
        return found

    def _looked_up(self, name: str, task: asyncio.Task[Any]) -> None:
        if self._lookups.get(name) is task:
            del self._lookups[name]
        if not task.cancelled():
            task.exception()  # retrieved here: the requests that waited may be gone


def _check_members(
    *, caller: str, who: str, scopes: frozenset[Scope], expires_at: datetime | None, now: datetime
) -> None:
    """Raise `KeyRefused`, naming the member that is invalid."""
    for name, value in (("caller", caller), ("who", who)):
        if not NAME.fullmatch(value):
            raise KeyRefused(
                f"{name}: give 1 to 64 letters, digits or . _ @ -, beginning with a letter or digit."
            )
        if holds_card_number(value):
            raise KeyRefused(f"{name}: give a name, not a card number.")
    if not scopes:
        raise KeyRefused(f"scopes: give at least one of {', '.join(Scope)}.")
    if expires_at is not None and expires_at <= now:
        raise KeyRefused("expires_at: give a time in the future.")
    if expires_at is not None and expires_at - now > timedelta(days=MAX_DAYS):
        raise KeyRefused(
            f"expires_at: give a time within {MAX_DAYS} days, or none for a key that doesn't expire."
        )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
