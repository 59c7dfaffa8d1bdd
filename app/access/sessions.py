"""Sessions of the dashboard: signing in with an API key, remembered by a cookie.

A session is 256 random bits. The database has their SHA-256 only, so that reading the table doesn't let anybody sign
in. A session ends when it expires, when it is signed out, and when its key ends.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.access.api_key import ApiKey
from app.access.keys import Keys
from app.access.principal import Principal
from app.access.unknown_credentials import MAX_REMEMBERED, ExistingNames


class SessionStore(Protocol):
    """Where sessions are stored. Every method may raise `LogUnavailable`."""

    async def add(self, digest: str, key_id: str, *, at: datetime, until: datetime) -> None:
        """Store a new session, and delete those that have expired by `at`."""

    async def find(self, digest: str, *, at: datetime) -> ApiKey | None:
        """Return the key of a session that has not expired."""

    async def digests(self, *, at: datetime) -> frozenset[str]:
        """Return the digests of all sessions that have not expired."""

    async def end(self, digest: str) -> None:
        """Delete a session."""


class Sessions:
    """Signs in and out with API keys. A session lasts `hours`."""

    def __init__(
        self, keys: Keys, store: SessionStore, *, now: Callable[[], datetime], hours: float = 12.0
    ) -> None:
        self._keys = keys
        self._unknown = keys.unknown
        self._known: OrderedDict[str, None] = OrderedDict()
        self._store = store
        self._existing = ExistingNames(lambda: store.digests(at=now()))
        self._now = now
        self.lifetime = timedelta(hours=hours)

    async def sign_in(self, key: str, *, address: str | None = None) -> str | None:
        """Return the text of a new session, to be sent in the cookie only; None where the key isn't valid.

        Raise `TooManyUnknownCredentials` where this address sends too many keys that don't exist.
        """
        found = await self._keys.verify(key, address=address)
        if found is None:
            return None
        token, now = secrets.token_urlsafe(32), self._now()
        await self._store.add(_digest(token), found.id, at=now, until=now + self.lifetime)
        self._remember(_digest(token))
        return token

    async def authenticate(self, token: str, *, address: str | None = None) -> Principal | None:
        """Return the principal that signed in, or None once the session or its key has ended.

        Raise `TooManyUnknownCredentials` where this address sends too many sessions that don't exist.
        """
        now, digest = self._now(), _digest(token)

        def look_up() -> Coroutine[Any, Any, ApiKey | None]:
            return self._store.find(digest, at=now)

        if digest in self._known:
            key = await look_up()
        else:
            key = await self._unknown.find(digest, address=address, existing=self._existing, look_up=look_up)
        if key is None:
            self._known.pop(digest, None)
            return None
        self._remember(digest)
        return key.principal() if key.active(now) else None

    def _remember(self, digest: str) -> None:
        """Note that a session exists: it is then looked up without a limit."""
        self._known[digest] = None
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    async def sign_out(self, token: str, *, address: str | None = None) -> None:
        """End a session. A token that is none causes no write to the database."""
        if await self.authenticate(token, address=address) is not None:
            await self._store.end(_digest(token))


def form_token(session: str) -> str:
    """Return the token that the page's forms carry against cross-site request forgery, derived from the cookie's secret."""
    return hmac.new(session.encode(), b"form", hashlib.sha256).hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
