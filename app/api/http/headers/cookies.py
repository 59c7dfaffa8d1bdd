"""Reading one cookie of a request, in time that grows with the header's length and not faster.

Python's `SimpleCookie`, and what Starlette borrows of it to unquote a value, is quadratic in backslashes before
3.11.10 and 3.12.6 (CVE-2024-7592), and `SimpleCookie` stops at the first cookie that it can't parse: so another
application's cookie on the same host would sign operators out. Here a header is split as browsers write it (RFC 6265,
5.4), and other cookies' values are not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


def cookie_of(headers: Sequence[str], name: str) -> str | None:
    """Return the value of the first cookie of this name in the `Cookie` header lines, or None.

    Browsers send the cookie of the longest path first. Double quotes around a value are not part of it.
    Backslashes are not escapes.
    """
    named = _named(name)
    for line in headers:
        if found := named.search(line):
            value = found[1].strip(" \t")
            return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return None


@lru_cache(maxsize=8)
def _named(name: str) -> re.Pattern[str]:
    # A cookie begins at the start of the line or after a semicolon, so that no text is searched twice.
    return re.compile(rf"(?:^|;)[ \t]*{re.escape(name)}[ \t]*=([^;]*)")
