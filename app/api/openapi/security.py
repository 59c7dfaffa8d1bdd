"""How one proves who asks, for the API's description: told by the very table that lets requests in."""

from __future__ import annotations

import re
from typing import Any

from app.api.middleware.authentication import COOKIE, PARAMETER, READABLE, Row, right_of

SECURITY_SCHEMES: dict[str, dict[str, Any]] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "ck_…",
        "description": (
            "An API key, made by `checkout keys create` or POST /keys; its scopes are what it may do. "
            "A server that has no key yet asks for none, and answers its own machine alone."
        ),
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "Somebody who has signed in to the page; for reading alone.",
    },
    "read_token": {
        "type": "apiKey",
        "in": "query",
        "name": PARAMETER,
        "description": (
            "A token of POST /sagas/{saga_id}/read-token, for that saga alone and for a short time; "
            "it may be sent as Authorization: Bearer, too."
        ),
    },
}
_PARAMETER = re.compile(r"\{\w+\}")


def security_of(method: str, path: str) -> list[dict[str, list[str]]]:
    """Return what an operation wants: any of these, or nothing."""
    row = _row_of(method, path)
    if row is None or row.right is None:
        return []
    if method != "GET":
        return [{"key": []}]
    token: list[dict[str, list[str]]] = [{"read_token": []}] if READABLE.fullmatch(_filled(path)) else []
    return [{"key": []}, {"session": []}, *token]


def needed(method: str, path: str) -> str:
    """Return the sentence about the scope that an operation's key needs; empty where none is needed."""
    row = _row_of(method, path)
    if row is None or row.right is None:
        return ""
    whose = ", for every caller's sagas" if row.everyone else ""
    return f"\n\nNeeds a key with the scope `{row.right}`{whose}."


def _row_of(method: str, path: str) -> Row | None:
    return right_of(method, _filled(path))


def _filled(path: str) -> str:
    return _PARAMETER.sub("x", path)
