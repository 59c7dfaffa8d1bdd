"""Which keys may be created, and by whom: no key exceeds or outlives the key that creates it; the first can administer.

The rules look at the existing keys, so they only hold while these cannot change: call `check` in the transaction that
stores the new key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.access.api_key import ApiKey
from app.access.principal import Principal
from app.access.scopes import Scope

MAX_ACTIVE_KEYS = 2
"""Active keys of one subject: the old and the new one while they are rotated."""

MAX_DAYS = 36_500
"""The longest life of a key, in days: a hundred years. A later date is a typing error, or leaves the calendar."""

FIRST_KEY_SCOPES = frozenset({Scope.CHECKOUT, Scope.OPERATE, Scope.KEYS})
"""Scopes that the first key needs where it is created through a service without keys, which it closes.

It must be able to operate and to create all other keys, and a key can only pass on scopes of its own.
"""


class KeyRefused(ValueError):
    """This key can't be created. The message names the member and says what to do."""


def check(new: ApiKey, existing: Sequence[ApiKey], *, maker: Principal | None, now: datetime) -> ApiKey:
    """Return the key as it may be stored beside the existing ones; raise `KeyRefused`.

    `maker` is the principal that creates it; None is the command line, which has access to the database anyway and may
    create any key. A key without an expiry gets its maker's.
    """
    active = [key for key in existing if (key.caller, key.who) == (new.caller, new.who) and key.active(now)]
    if len(active) >= MAX_ACTIVE_KEYS:
        raise KeyRefused(
            f"{new.who} of {new.caller} has {MAX_ACTIVE_KEYS} active keys: revoke {active[0].prefix} first."
        )
    if maker is None:
        return new
    if maker.key_id is None:
        return _first(new, existing)
    makers_key = next((key for key in existing if key.id == maker.key_id), None)
    if makers_key is None or not makers_key.active(now):
        raise KeyRefused("Your own key has expired or was revoked: use another.")
    return _within(new, makers_key)


def descendants(key_id: str, existing: Sequence[ApiKey]) -> list[ApiKey]:
    """Return the keys that were created with a key, directly or through others."""
    makers, found = {key_id}, []
    for key in sorted(existing, key=lambda key: (key.created_at, key.id)):  # a key is younger than its maker
        if key.created_by_key in makers:
            makers.add(key.id)
            found.append(key)
    return found


def _first(new: ApiKey, existing: Sequence[ApiKey]) -> ApiKey:
    """Return a key that is created without a key: only the first may be, and it must not lock everybody out."""
    if existing:
        raise KeyRefused("This service has keys now: use one with the scope `keys`.")
    missing = FIRST_KEY_SCOPES - new.scopes
    why = "The first key closes this service, and its page, to requests without a key"
    if missing:
        raise KeyRefused(
            f"scopes: {why}: add {' and '.join(sorted(missing))}, then create the others with it."
        )
    if not new.everyone:
        raise KeyRefused(f"everyone: {why}: set it to true, then create the others with it.")
    return new


def _within(new: ApiKey, maker: ApiKey) -> ApiKey:
    """Return a key that may do no more than its maker's."""
    beyond = sorted(scope for scope in new.scopes if not maker.principal().has_scope(scope))
    if beyond:
        raise KeyRefused(
            f"scopes: Your own key doesn't have {' or '.join(beyond)}, so it can't pass that on."
        )
    if new.everyone and not maker.everyone:
        raise KeyRefused("everyone: Your own key doesn't see everyone's sagas, so it can't pass that on.")
    if maker.expires_at is None:
        return new
    if new.expires_at is None:
        return replace(new, expires_at=maker.expires_at)
    if new.expires_at > maker.expires_at:
        raise KeyRefused(
            f"expires_at: Your own key expires at {maker.expires_at:%Y-%m-%dT%H:%M:%SZ}: give no later time."
        )
    return new
