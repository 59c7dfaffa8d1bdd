"""Sessions: who has signed in to the page with a key, told by a cookie.

A session is 256 random bits, of which the database has the SHA-256 alone: who reads it there can't sign in.
It ends by itself, when it is signed out, and with its key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.access.keys import ApiKey, Keys
from app.access.principal import Principal
from app.access.unknown_credentials import MOST_REMEMBERED, Existing


class SessionStore(Protocol):
    """Where sessions are kept. Every method may raise `LogUnavailable`."""

    async def add(self, digest: str, key_id: str, *, at: datetime, until: datetime) -> None:
        """Store a new session, and forget those that have ended by `at`."""

    async def find(self, digest: str, *, at: datetime) -> ApiKey | None:
        """Return the key of a session that lasts still."""

    async def digests(self, *, at: datetime) -> frozenset[str]:
        """Return those of the sessions that last still."""

    async def end(self, digest: str) -> None:
        """Forget a session."""


class Sessions:
    """Signs people in with their keys, and out again. A session lasts `hours`."""

    def __init__(
        self, keys: Keys, store: SessionStore, *, now: Callable[[], datetime], hours: float = 12.0
    ) -> None:
        self._keys = keys
        self._unknown = keys.unknown
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._store = store
        self._existing = Existing(lambda: store.digests(at=now()))
        self._now = now
        self.lasts = timedelta(hours=hours)

    async def sign_in(self, key: str, *, address: str | None = None) -> str | None:
        """Return the text of a new session, for the cookie alone; None for a key that opens nothing.

        Raise `TooManyUnknownCredentials` where too much that nobody has is asked for from this address.
        """
        found = await self._keys.known(key, address=address)
        if found is None:
            return None
        token, now = secrets.token_urlsafe(32), self._now()
        await self._store.add(_digest(token), found.id, at=now, until=now + self.lasts)
        self._note(_digest(token))
        return token

    async def caller(self, token: str, *, address: str | None = None) -> Principal | None:
        """Return who has signed in, or None once the session or its key has ended; raise `TooManyUnknownCredentials`."""
        now, digest = self._now(), _digest(token)

        def look() -> Coroutine[Any, Any, ApiKey | None]:
            return self._store.find(digest, at=now)

        if digest in self._seen:
            key = await look()
        else:
            key = await self._unknown.find(digest, address=address, existing=self._existing, look=look)
        if key is None:
            self._seen.pop(digest, None)
            return None
        self._note(digest)
        return key.stands_for() if key.active(now) else None

    def _note(self, digest: str) -> None:
        """Know a session again: it is looked up without a limit."""
        self._seen[digest] = None
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)

    async def sign_out(self, token: str, *, address: str | None = None) -> None:
        """End a session, where it is one: nobody writes to the database who hasn't signed in."""
        if await self.caller(token, address=address) is not None:
            await self._store.end(_digest(token))


def form_token(session: str) -> str:
    """Return what a page's forms carry: nobody who can't read the cookie can tell it."""
    return hmac.new(session.encode(), b"form", hashlib.sha256).hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
