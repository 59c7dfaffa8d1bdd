"""What the API says of itself: its version, and its description, which is written when it is first asked for."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI

from app.api.limits import ApiSettings
from app.api.middleware.proxies.base_path import base_path, link, reached_under

VERSION = "1"
"""The contract's version, not the release's."""

DESCRIPTION = """Check an order out: charge, reserve and ship, or undo what was done.

Money is an integer in the currency's minor unit, times are RFC 3339 in UTC, ids are UUIDv7.
Every error is problem details (RFC 9457): its `type` is a page of this API, stable for programs; its `code` may say more.
Members may be added to what is answered: ignore those that you don't know. What is sent may hold no unknown member.
"""
SERVER = {"url": "/", "description": "The server that this description comes from."}
_ANSWERED = re.compile(r"/(problems|sagas)/")


def describe(app: FastAPI, settings: ApiSettings) -> None:
    """Make the app's own description, with its limits, the whole one; it is made when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            with reached_under(""):
                from app.api.openapi.document import document  # noqa: PLC0415 - not at every start

                app.openapi_schema = document(app, settings)
        if not base_path():
            return app.openapi_schema
        served: dict[str, Any] = _linked(app.openapi_schema)
        return served | {"servers": [{**SERVER, "url": base_path()}]}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _linked(value: Any) -> Any:
    """Return a part of the description with the paths that are answered (types, Location, examples) as they are here."""
    if isinstance(value, dict):
        return {name: _linked(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_linked(one) for one in value]
    return link(value) if isinstance(value, str) and _ANSWERED.match(value) else value
