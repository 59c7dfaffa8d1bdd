"""Which keys may be made, and by whom: no key outranks its maker or outlives it, and the first one can administer.

Every rule looks at the keys that there are, so that it holds only where they can't change meanwhile:
`check` is called within the transaction that stores the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.access.principal import Principal, Scope

AT_MOST_ACTIVE = 2
"""Keys that one person or program may have at once: the old and the new one of a rotation."""

LONGEST_DAYS = 36_500
"""For how many days a key may be made: a hundred years, beyond which a date is a mistake, or leaves the calendar."""

FIRST_KEY_SCOPES = frozenset({Scope.CHECKOUT, Scope.OPERATE, Scope.KEYS})
"""What the first key needs where it is made through the open service, which it closes to all that have none: to
operate, to make the others, and all that these may be given, as none gets what its maker hasn't."""


class KeyRefused(ValueError):
    """This key can't be made; the words say what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key as it is kept. `digest` is the secret's SHA-256, in hexadecimal digits.

    `created_by` names who made it, and `created_by_key` the key that was used: None where that was no key,
    but the command line or a service without keys. Both are None of a key older than this knowledge.
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
        """Whether it opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def stands_for(self) -> Principal:
        """Return who asks with it."""
        return Principal(
            name=self.caller, who=self.who, scopes=self.scopes, everyone=self.everyone, key_id=self.id
        )


def check(new: ApiKey, existing: Sequence[ApiKey], *, maker: Principal | None, now: datetime) -> ApiKey:
    """Return the key as it may be stored beside those that exist; raise `KeyRefused`, naming the member.

    `maker` is who asks for it, None for the command line, which has the database itself in hand and may make
    any key. Without an end of its own a key ends with its maker's.
    """
    own = [key for key in existing if (key.caller, key.who) == (new.caller, new.who) and key.active(now)]
    if len(own) >= AT_MOST_ACTIVE:
        raise KeyRefused(
            f"{new.who} of {new.caller} has {AT_MOST_ACTIVE} active keys: revoke {own[0].prefix} first."
        )
    if maker is None:
        return new
    if maker.key_id is None:
        return _first(new, existing)
    makers = next((key for key in existing if key.id == maker.key_id), None)
    if makers is None or not makers.active(now):
        raise KeyRefused("The key that asks for this one has ended: use another.")
    return _within(new, makers)


def made_by(key_id: str, existing: Sequence[ApiKey]) -> list[ApiKey]:
    """Return the keys that were made with a key, and with those in turn."""
    makers, found = {key_id}, []
    for key in sorted(existing, key=lambda key: (key.created_at, key.id)):  # a key is younger than its maker
        if key.created_by_key in makers:
            makers.add(key.id)
            found.append(key)
    return found


def _first(new: ApiKey, existing: Sequence[ApiKey]) -> ApiKey:
    """Return a key that somebody without one may make: the first, which must not lock everybody out."""
    if existing:
        raise KeyRefused("This service has keys by now: ask with one that has the scope `keys`.")
    missing = FIRST_KEY_SCOPES - new.scopes
    why = "The first key closes this service to all who have none, the page too"
    if missing:
        raise KeyRefused(f"scopes: {why}: add {' and '.join(sorted(missing))}, then make the others with it.")
    if not new.everyone:
        raise KeyRefused(f"everyone: {why}: make it true, then make the others with it.")
    return new


def _within(new: ApiKey, maker: ApiKey) -> ApiKey:
    """Return a key that is no more than its maker's."""
    beyond = sorted(scope for scope in new.scopes if not maker.stands_for().may(scope))
    if beyond:
        raise KeyRefused(f"scopes: Your own key hasn't {' or '.join(beyond)}, so it can't give that on.")
    if new.everyone and not maker.everyone:
        raise KeyRefused("everyone: Your own key doesn't see everyone's sagas, so it can't give that on.")
    if maker.expires_at is None:
        return new
    if new.expires_at is None:
        return replace(new, expires_at=maker.expires_at)
    if new.expires_at > maker.expires_at:
        raise KeyRefused(
            f"expires_at: Your own key ends at {maker.expires_at:%Y-%m-%dT%H:%M:%SZ}: give no later time."
        )
    return new
