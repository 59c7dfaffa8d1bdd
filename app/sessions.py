"""Sessions: who has signed in to the page with a key, told by a cookie.

A session is 256 random bits, of which the database has the SHA-256 alone: who reads it there can't sign in.
It ends by itself, when it is signed out, and with its key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from app.callers import Caller
from app.keys import ApiKey, Keys


class SessionStore(Protocol):
    """Where sessions are kept. Every method may raise `LogUnavailable`."""

    async def add(self, digest: str, key_id: str, *, at: datetime, until: datetime) -> None:
        """Store a new session, and forget those that have ended by `at`."""

    async def find(self, digest: str, *, at: datetime) -> ApiKey | None:
        """Return the key of a session that lasts still."""

    async def end(self, digest: str) -> None:
        """Forget a session."""


class Sessions:
    """Signs people in with their keys, and out again. A session lasts `hours`."""

    def __init__(
        self, keys: Keys, store: SessionStore, *, now: Callable[[], datetime], hours: float = 12.0
    ) -> None:
        self._keys = keys
        self._store = store
        self._now = now
        self.lasts = timedelta(hours=hours)

    async def sign_in(self, key: str) -> str | None:
        """Return the text of a new session, for the cookie alone; None for a key that opens nothing."""
        found = await self._keys.known(key)
        if found is None:
            return None
        token, now = secrets.token_urlsafe(32), self._now()
        await self._store.add(_digest(token), found.id, at=now, until=now + self.lasts)
        return token

    async def caller(self, token: str) -> Caller | None:
        """Return who has signed in, or None once the session or its key has ended."""
        now = self._now()
        key = await self._store.find(_digest(token), at=now)
        return key.stands_for() if key is not None and key.active(now) else None

    async def sign_out(self, token: str) -> None:
        """End a session."""
        await self._store.end(_digest(token))


def form_token(session: str) -> str:
    """Return what a page's forms carry: nobody who can't read the cookie can tell it."""
    return hmac.new(session.encode(), b"form", hashlib.sha256).hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
