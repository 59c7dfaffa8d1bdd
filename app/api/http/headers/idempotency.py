"""Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header): a repeat is recognised, not done again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.api.problems.problem import Problem
from app.values.canonical_json import as_written, canonical, spelt_as

_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')


def idempotency_key(headers: Sequence[str], *, required: bool) -> str | None:
    """Return the key; in double quotes, as the draft writes it, or bare, as most clients do, it is the same key."""
    if not headers:
        if required:
            raise Problem("idempotency_key_required")
        return None
    if len(headers) > 1:
        raise Problem("invalid_idempotency_key", f"Send one Idempotency-Key, not {len(headers)}.")
    key = headers[0].strip(" \t")
    if key.startswith('"'):
        quoted = _QUOTED.fullmatch(key)
        if quoted is None:
            raise Problem(
                "invalid_idempotency_key", "The Idempotency-Key begins with a double quote: end it with one."
            )
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    if not _VISIBLE.fullmatch(key):
        raise Problem(
            "invalid_idempotency_key",
            "Send an Idempotency-Key of 1 to 255 visible ASCII characters, such as a UUID.",
        )
    return key


def fingerprint(*, caller: str, method: str, path: str, body: Any) -> str:
    """Return what tells two requests apart; a body that RFC 8785 writes as the same bytes is the same."""
    return _digest(canonical([caller, method, path, body]))


def is_of_earlier_release(
    known: str, stored: Mapping[str, Any], *, caller: str, method: str, path: str, body: Any
) -> bool:
    """Whether `known` is the fingerprint that an earlier release stored of this very request.

    It told apart the spellings of one number. The first request's is the saga's: `stored` is its input.
    """
    return any(
        known == _digest(as_written([caller, method, path, spelling]))
        for spelling in (body, spelt_as(body, stored))
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
