"""API keys: who may ask, told by a secret that is shown once and kept as a hash.

A key reads `ck_{prefix}_{secret}`: eight characters that find it, and 256 random bits that prove it.
Bits like these can't be guessed, so one round of SHA-256 is as good as a slow hash, and costs a checkout
nothing. Keys are never deleted, only revoked: the last one's end doesn't open the service.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from app.access.key_policy import LONGEST_DAYS, ApiKey, KeyRefused, check, made_by
from app.access.principal import Principal, Scope
from app.access.unknown_credentials import Existing, UnknownCredentials
from app.saga.model.errors import LogUnavailable
from app.values.card_numbers import holds_card_number

__all__ = ["ApiKey", "KeyRefused", "KeyStore", "Keys"]

T = TypeVar("T")

USED_EVERY = timedelta(minutes=1)
"""How exactly the last use is kept."""

_KEY = re.compile(r"ck_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
"""What a caller, and a person or program, may be called."""

_NO_HASH = bytes(32)


class KeyStore(Protocol):
    """Where keys are kept. Every method may raise `LogUnavailable`."""

    async def add(self, new: Callable[[Sequence[ApiKey]], ApiKey]) -> ApiKey:
        """Store the key that `new` returns, and return it.

        `new` is given every key there ever was and may raise: nothing is stored then. No other key is added
        from when it is called until this one is stored, by any process.
        """

    async def find(self, prefix: str) -> ApiKey | None:
        """Return the key of that prefix."""

    async def all(self) -> list[ApiKey]:
        """Return every key there ever was, oldest first."""

    async def prefixes(self) -> frozenset[str]:
        """Return the prefix of every key that hasn't been revoked."""

    async def any(self) -> bool:
        """Whether there ever was a key."""

    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        """End a key now, if it hasn't ended yet; return it, or None where there is none."""

    async def used(self, key_id: str, *, at: datetime) -> None:
        """Note when a key was used last."""


class Keys:
    """Makes, knows and ends keys. What was looked up is believed for `cache_seconds`, so a revocation takes that long."""

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
        self._existing = Existing(store.prefixes)
        self._cache_for = timedelta(seconds=cache_seconds)
        self._known: dict[str, tuple[datetime, ApiKey]] = {}
        self._closed = False
        self._open_until: datetime | None = None
        self._looking: dict[str, asyncio.Task[Any]] = {}

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
        """Make a key and return it with its text, which nobody can be shown again.

        `maker` is who asks for it; None is the command line, which may make any. Raise `KeyRefused` where the
        key makes no sense, where it would be more than its maker's, or lock everybody out.
        """
        wanted, now = frozenset(scopes), self._now()
        for name, value in (("caller", caller), ("who", who)):
            if not NAME.fullmatch(value):
                raise KeyRefused(
                    f"{name}: give 1 to 64 letters, digits or . _ @ -, beginning with a letter or digit."
                )
            if holds_card_number(value):
                raise KeyRefused(f"{name}: give a name, not a card number.")
        if not wanted:
            raise KeyRefused(f"scopes: give at least one of {', '.join(Scope)}.")
        if expires_at is not None and expires_at <= now:
            raise KeyRefused("expires_at: give a time in the future.")
        if expires_at is not None and expires_at - now > timedelta(days=LONGEST_DAYS):
            raise KeyRefused(
                f"expires_at: give a time within {LONGEST_DAYS} days, or none for a key that doesn't end."
            )
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
            created_by="command line" if maker is None else maker.who,
            created_by_key=None if maker is None else maker.key_id,
        )
        key = await self._store.add(lambda existing: check(new, existing, maker=maker, now=now))
        self._closed = True
        return key, f"ck_{prefix}_{secret}"

    async def list_keys(self) -> list[ApiKey]:
        """Return every key there ever was, oldest first."""
        return await self._store.all()

    async def revoke(self, key_id: str, *, cascade: bool = False) -> ApiKey | None:
        """End a key, with `cascade` also those that were made with it; return it, or None where there is none.

        Those made with it end first, so that one which ends half-way through has left the maker to be tried again.
        """
        if cascade:
            for made in reversed(made_by(key_id, await self._store.all())):
                await self._end(made.id)
        return await self._end(key_id)

    async def _end(self, key_id: str) -> ApiKey | None:
        key = await self._store.revoke(key_id, at=self._now())
        if key is not None:
            self._known.pop(key.prefix, None)
            self._looking.pop(key.prefix, None)  # what is being looked up may be older than this
        return key

    @property
    def cache_seconds(self) -> float:
        """Within how many seconds a revocation takes."""
        return self._cache_for.total_seconds()

    async def required(self, *, anew: bool = False, stale_if_error: bool = False) -> bool:
        """Whether a key is needed: from the first one on, for ever. `anew` believes nothing that was looked up.

        `stale_if_error` falls back on what was looked up last where the store can't be asked.
        """
        now = self._now()
        if not self._closed and (anew or self._open_until is None or now >= self._open_until):
            try:
                await self._together("", self._look_whether_any)
            except LogUnavailable:
                if not stale_if_error or self._open_until is None:
                    raise
        return self._closed

    async def authenticate(
        self, text: str, *, address: str | None = None, anew: bool = False, stale_if_error: bool = False
    ) -> Principal | None:
        """Return who asks with this key, or None for one that opens nothing, whatever is wrong with it.

        `address` is where the request came from. Raise `TooManyUnknownCredentials` where that asks for too many which
        nobody has. `anew` believes nothing that was looked up; `stale_if_error` falls back on the key as it was
        looked up last where the store can't be asked, and raises `LogUnavailable` for one that never was.
        """
        key = await self.known(text, address=address, anew=anew, stale_if_error=stale_if_error)
        return None if key is None else key.stands_for()

    async def known(
        self, text: str, *, address: str | None = None, anew: bool = False, stale_if_error: bool = False
    ) -> ApiKey | None:
        """Return the key of this text, or None for one that opens nothing; raise `TooManyUnknownCredentials`."""
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        prefix, secret = match.groups()
        key = await self._find(prefix, address, anew=anew, stale_if_error=stale_if_error)
        now = self._now()
        known = bytes.fromhex(key.digest) if key else _NO_HASH
        proved = hmac.compare_digest(known, bytes.fromhex(_digest(secret)))
        if key is None or not proved or not key.active(now):
            return None
        return key

    async def active(self, prefix: str, *, address: str | None = None, anew: bool = False) -> ApiKey | None:
        """Return the key of that prefix while it opens anything, as the cache has it; raise `TooManyUnknownCredentials`.

        `anew` believes nothing that was looked up.
        """
        key = await self._find(prefix, address, anew=anew)
        return key if key is not None and key.active(self._now()) else None

    async def _find(
        self, prefix: str, address: str | None, *, anew: bool, stale_if_error: bool = False
    ) -> ApiKey | None:
        now = self._now()
        until, key = self._known.get(prefix, (now, None))
        if key is not None and now < until and not anew:
            return key

        def look() -> Coroutine[Any, Any, ApiKey | None]:
            return self._together(prefix, lambda: self._look_up(prefix))

        if key is None:
            return await self.unknown.find(prefix, address=address, existing=self._existing, look=look)
        try:
            return await look()
        except LogUnavailable:
            if not stale_if_error:
                raise
            return key

    async def _look_whether_any(self) -> None:
        now = self._now()
        self._closed = await self._store.any() or self._closed
        self._open_until = now + self._cache_for

    async def _look_up(self, prefix: str) -> ApiKey | None:
        now = self._now()
        key = await self._store.find(prefix)
        if key is None:
            self._known.pop(prefix, None)
            return None
        if self._looking.get(prefix) is asyncio.current_task():
            self._known[prefix] = (now + self._cache_for, key)
        if key.active(now) and (key.last_used_at is None or now - key.last_used_at >= USED_EVERY):
            await self._store.used(key.id, at=now)
        return key

    async def _together(self, name: str, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Look up once for all who ask meanwhile: else each request of a busy process would, whenever the cache ends."""
        task = self._looking.get(name)
        if task is None:
            task = self._looking[name] = asyncio.create_task(look())
            task.add_done_callback(lambda done: self._looked(name, done))
        found: T = await asyncio.shield(task)
        return found

    def _looked(self, name: str, task: asyncio.Task[Any]) -> None:
        if self._looking.get(name) is task:
            del self._looking[name]
        if not task.cancelled():
            task.exception()  # nobody need be waiting for it: a request may have gone


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
