"""Where a service is, and the token that it is asked with: checked before anything is sent."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def checked_base_url(url: str) -> str:
    """Return a service's base URL without a slash at its end. Raise `ValueError` in a sentence that doesn't repeat it."""
    # urlsplit drops control characters and leaves `port` to be checked when it is asked for.
    parts = None
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.username is None
            and not parts.query
            and not parts.fragment
            and re.fullmatch(r"[!-~]+", url)
        )
    except ValueError:  # brackets that are no IPv6 address
        usable = None
    if parts is None or not usable:
        raise ValueError(
            "A service's base URL must be http(s)://host[:port][/path], without user, query or fragment, "
            "such as http://127.0.0.1:9001."
        )
    try:
        parts.port  # noqa: B018 (asking for it is the check)
    except ValueError:
        raise ValueError(
            "A service's base URL must have a port between 0 and 65535, or none, such as http://127.0.0.1:9001."
        ) from None
    return url.rstrip("/")


def checked_bearer_token(token: str) -> str:
    """Return a token that fits into a header. Raise `ValueError` in a sentence that doesn't repeat it."""
    if not re.fullmatch(r"[!-~]+", token):
        raise ValueError("A bearer token must be visible ASCII characters alone.")
    return token
