"""Entity tags (RFC 9110, 8.8.3 and 13.1.2): so that the same bytes aren't sent twice."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def etag_of(content: bytes, version: int) -> str:
    """Return the strong tag of a body. It begins with the version of what the body shows."""
    return f'"{version}-{hashlib.sha256(content).hexdigest()[:32]}"'


def matches(if_none_match: Sequence[str], etag: str) -> bool:
    """Return whether an If-None-Match (its header lines) names this tag, compared weakly; `*` names any."""
    line = ", ".join(if_none_match).strip()
    return line == "*" or etag in _TAG.findall(line)
