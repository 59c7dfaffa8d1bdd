"""An untrusted HTTP answer: status, body as JSON, Retry-After."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from app.gateway.answer import Answer
from app.gateway.port import JsonObject
from app.saga.model.step import JSON

_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json", re.IGNORECASE)
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_SECONDS = re.compile(r"[0-9]{1,19}")


def read(status: int, headers: Mapping[str, str], body: bytes | None, *, now: datetime) -> Answer:
    """Return the answer that was received; `body` is None where it was longer than we read.

    Whatever came, this raises nothing: what can't be read leaves `document` None.
    """
    return Answer(
        status=status,
        document=_document(headers, body),
        retry_after=retry_after(headers.get("retry-after"), now=now),
        is_page=body != b"" and _media_type(headers) in _PAGES,
    )


def retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that Retry-After asks for, as a number or as a date; None for anything else."""
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        # A date that names no zone comes back naive; HTTP's dates are all GMT.
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _document(headers: Mapping[str, str], body: bytes | None) -> JsonObject | None:
    encoded = headers.get("content-encoding", "identity").lower() != "identity"
    # We ask for no compression: an answer that has it anyway may be a bomb.
    if body is None or encoded or not _JSON_TYPE.fullmatch(_media_type(headers)):
        return None
    try:
        document: JSON = json.loads(
            body.decode("utf-8"), object_pairs_hook=_no_member_twice, parse_constant=_not_json
        )
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _no_member_twice(pairs: list[tuple[str, JSON]]) -> JsonObject:
    """Refuse an object whose reading depends on the reader: two amounts are no amount."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member appears twice")
    return members


def _not_json(constant: str) -> JSON:
    raise ValueError(f"{constant} is not JSON")
