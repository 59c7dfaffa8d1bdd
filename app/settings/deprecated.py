"""Names of settings that are accepted for one more release."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

DEPRECATED: Mapping[str, str] = {
    "CHECKOUT_ALLOW_OPEN": "CHECKOUT_ALLOW_UNAUTHENTICATED",
    "CHECKOUT_MAX_WATCHERS": "CHECKOUT_MAX_EVENT_STREAMS",
    "CHECKOUT_MIGRATE_PATIENCE_SECONDS": "CHECKOUT_MIGRATE_TIMEOUT_SECONDS",
    "CHECKOUT_STORAGE_PATIENCE_SECONDS": "CHECKOUT_STORAGE_TIMEOUT_SECONDS",
    "CHECKOUT_WATCH_POLL_SECONDS": "CHECKOUT_EVENT_STREAM_POLL_SECONDS",
    "CHECKOUT_WEBHOOK_PAUSES": "CHECKOUT_WEBHOOK_RETRY_DELAYS",
}
"""Each old name, and the one that replaces it."""


def deprecated_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each deprecated variable that is set."""
    return [
        f"{old} is now called {new}. The old name is accepted in this release only."
        for old, new, _, _ in _given(environment)
    ]


def conflicts(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each variable that is set under both names, to different values."""
    return [
        f"{old} and {new} are the same setting, and have different values: set {new} alone."
        for old, new, value, other in _given(environment)
        if other not in ("", value)
    ]


def _given(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    found = {name.upper(): value.strip() for name, value in environment.items()}
    for old, new in DEPRECATED.items():
        if value := found.get(old, ""):
            yield old, new, value, found.get(new, "")
