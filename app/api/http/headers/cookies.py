"""Reading one cookie of a request, in time that grows with the header's length and no faster.

Python's `SimpleCookie`, and what Starlette borrows of it to unquote a value, is quadratic in backslashes before
3.11.10 and 3.12.6 (CVE-2024-7592), and `SimpleCookie` stops at the first cookie that it can't parse: another
application's on the same host would sign people out. Here a header is split as RFC 6265, 5.4 has browsers write
it, and nobody else's value is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


def cookie_of(headers: Sequence[str], name: str) -> str | None:
    """Return the value of the first cookie of this name in the `Cookie` header lines, or None where there is none.

    Browsers send the cookie of the longest path first. Double quotes around a value are no part of it;
    backslashes mean themselves.
    """
    named = _named(name)
    for line in headers:
        if found := named.search(line):
            value = found[1].strip(" \t")
            return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return None


@lru_cache(maxsize=8)
def _named(name: str) -> re.Pattern[str]:
    # A cookie begins at the line's begin or behind a semicolon, and nowhere else: none is gone over twice.
    return re.compile(rf"(?:^|;)[ \t]*{re.escape(name)}[ \t]*=([^;]*)")
