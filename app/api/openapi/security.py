"""How one proves who asks, for the API's description: from the rights that each route states."""

from __future__ import annotations

from typing import Any

from app.access.rights import Rights
from app.api.middleware.credentials import COOKIE, READ_PARAMETER

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
        "name": READ_PARAMETER,
        "description": (
            "A token of POST /sagas/{saga_id}/read-token, for that saga alone and for a short time; "
            "it may be sent as Authorization: Bearer, too."
        ),
    },
}


def security_of(rights: Rights, method: str) -> list[dict[str, list[str]]]:
    """Return what an operation needs: any of these, or nothing."""
    if rights.public:
        return []
    if method != "GET":
        return [{"key": []}]
    token: list[dict[str, list[str]]] = [{"read_token": []}] if rights.read_token else []
    return [{"key": []}, {"session": []}, *token]


def needed(rights: Rights) -> str:
    """Return the sentence about the scope that an operation's key needs; empty if none is needed."""
    if rights.public:
        return ""
    whose = ", for every caller's sagas" if rights.all_tenants else ""
    return f"\n\nNeeds a key with the scope `{rights.scope}`{whose}."
