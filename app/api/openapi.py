"""Writes the API's description: `python -m app.api.openapi > docs/openapi.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.api.app import create_api
from app.api.service import Service


@asynccontextmanager
async def _unserved() -> AsyncIterator[Service]:
    raise RuntimeError("This API is only described.")
    yield


def document() -> str:
    """Return the description of the API as it is built by default."""
    return json.dumps(create_api(_unserved).openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
