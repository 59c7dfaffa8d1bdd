"""Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header): a repeat gets the first request's answer."""

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
    """Return the key. It is the same in double quotes, as the draft has it, and bare, as most clients send it."""
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
    """Return a digest that differs for different requests. Bodies that RFC 8785 writes as the same bytes are the same."""
    return _digest(canonical([caller, method, path, body]))


def is_of_earlier_release(
    known: str, stored: Mapping[str, Any], *, caller: str, method: str, path: str, body: Any
) -> bool:
    """Whether `known` is the fingerprint that an earlier release stored for this request.

    That release distinguished spellings of the same number. `stored` is the saga's input, with the first request's
    spelling.
    """
    return any(
        known == _digest(as_written([caller, method, path, spelling]))
        for spelling in (body, spelt_as(body, stored))
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
