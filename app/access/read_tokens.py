"""Read tokens: short-lived, for one saga, and for reading it alone, so that a browser can follow its checkout.

A token is signed with what the database keeps of the API key that asked for it, so that it holds at every
replica and after a restart, is stored nowhere, and ends with its key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.access.keys import ApiKey, Keys
from app.access.principal import Principal, Scope

PREFIX = "rt_"
_TOKEN = re.compile(r"rt_([a-z0-9]{8})_([0-9]{10})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadToken:
    """A token's text, for a client alone, and when it ends."""

    text: str
    expires_at: datetime


class ReadTokens:
    """Issues and knows read tokens. One lasts `seconds`, and no longer than the key that asked for it."""

    def __init__(self, keys: Keys, *, now: Callable[[], datetime], seconds: float = 900.0) -> None:
        self._keys = keys
        self._now = now
        self._lasts = timedelta(seconds=seconds)

    async def issue(self, key_text: str, saga_id: str) -> ReadToken | None:
        """Return a token for a saga, which who asks has to be able to see; None for a key that opens nothing.

        Raise `LogUnavailable` where the key can't be looked up.
        """
        key = await self._keys.known(key_text)
        if key is None:
            return None
        ends = self._now() + self._lasts
        if key.expires_at is not None:
            ends = min(ends, key.expires_at)
        seconds = int(ends.timestamp())
        text = f"{PREFIX}{key.prefix}_{seconds:010d}_{_signature(key, saga_id, seconds)}"
        return ReadToken(text=text, expires_at=datetime.fromtimestamp(seconds, UTC))

    async def caller(
        self, text: str, saga_id: str, *, address: str | None = None, anew: bool = False
    ) -> Principal | None:
        """Return who reads this saga with a token, or None where it isn't this saga's, or it or its key has ended.

        Raise `LogUnavailable` where the key can't be looked up, `TooManyUnknownCredentials` where too many from that
        address were nobody's. `anew` believes nothing that was looked up earlier.
        """
        match = _TOKEN.fullmatch(text)
        if match is None or self._now().timestamp() >= int(match[2]):
            return None
        key = await self._keys.active(match[1], address=address, anew=anew)
        if key is None or not hmac.compare_digest(_signature(key, saga_id, int(match[2])), match[3]):
            return None
        return replace(key.stands_for(), scopes=frozenset({Scope.READ}))


def _signature(key: ApiKey, saga_id: str, seconds: int) -> str:
    said = f"read-token\0{key.id}\0{saga_id}\0{seconds}".encode()
    made = hmac.new(bytes.fromhex(key.digest), said, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")
