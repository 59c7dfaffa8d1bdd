"""Scopes: what an API key lets its holder do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """One kind of right; a key has at least one."""

    CHECKOUT = "checkout"  # start checkouts, and read one's own
    READ = "read"  # read sagas and events
    OPERATE = "operate"  # cancel, retry, resolve; manage webhooks
    KEYS = "keys"  # create, list and revoke keys
