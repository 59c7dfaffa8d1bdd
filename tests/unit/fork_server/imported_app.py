"""The service, with what its process imported after its start under `GET /imported`."""

from __future__ import annotations

import json
import sys
from typing import Any

BEFORE = frozenset(sys.modules)

from app.main import app as service  # noqa: E402 (what it imports is the question)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope.get("path") != "/imported":
        await service(scope, receive, send)
        return
    imported = json.dumps(sorted(set(sys.modules) - BEFORE)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": imported})
