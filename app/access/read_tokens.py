"""Read tokens: short-lived, for reading one saga, so that a browser can follow its checkout.

A token is signed with the stored hash of the API key that requested it. So every replica can verify it, it survives a
restart, it is stored nowhere, and it ends with its key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.access.api_key import ApiKey
from app.access.keys import Keys
from app.access.principal import Principal
from app.access.scopes import Scope

PREFIX = "rt_"
_TOKEN = re.compile(r"rt_([a-z0-9]{8})_([0-9]{10})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadToken:
    """A token's text, for a client's eyes only, and when it expires."""

    text: str
    expires_at: datetime


class ReadTokens:
    """Issues and verifies read tokens. A token lasts `seconds`, and no longer than the key that requested it."""

    def __init__(self, keys: Keys, *, now: Callable[[], datetime], seconds: float = 900.0) -> None:
        self._keys = keys
        self._now = now
        self._lifetime = timedelta(seconds=seconds)

    async def issue(self, key_text: str, saga_id: str) -> ReadToken | None:
        """Return a token for a saga; None where the key isn't valid. The caller checks that the key may see the saga.

        Raise `LogUnavailable` where the key can't be looked up.
        """
        key = await self._keys.verify(key_text)
        if key is None:
            return None
        expires_at = self._now() + self._lifetime
        if key.expires_at is not None:
            expires_at = min(expires_at, key.expires_at)
        seconds = int(expires_at.timestamp())
        text = f"{PREFIX}{key.prefix}_{seconds:010d}_{_signature(key, saga_id, seconds)}"
        return ReadToken(text=text, expires_at=datetime.fromtimestamp(seconds, UTC))

    async def authenticate(
        self, text: str, saga_id: str, *, address: str | None = None, fresh: bool = False
    ) -> Principal | None:
        """Return the principal that reads this saga with a token; None where the token is another saga's or has ended.

        Raise `LogUnavailable` where the key can't be looked up, and `TooManyUnknownCredentials` where this address
        sends too many tokens of keys that don't exist. `fresh` ignores the cache.
        """
        match = _TOKEN.fullmatch(text)
        if match is None or self._now().timestamp() >= int(match[2]):
            return None
        key = await self._keys.find_active(match[1], address=address, fresh=fresh)
        if key is None or not hmac.compare_digest(_signature(key, saga_id, int(match[2])), match[3]):
            return None
        return replace(key.principal(), scopes=frozenset({Scope.READ}))


def _signature(key: ApiKey, saga_id: str, seconds: int) -> str:
    message = f"read-token\0{key.id}\0{saga_id}\0{seconds}".encode()
    signature = hmac.new(bytes.fromhex(key.digest), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")
