"""Writes the API's description: `python -m app.api.openapi > docs/openapi.json`."""

from __future__ import annotations

import json
import sys

from app.api.app import create_api
from app.api.context import AppContext


class _Unserved:
    """No service: this API is only described."""

    async def __aenter__(self) -> AppContext:
        raise NotImplementedError

    async def __aexit__(self, *_: object) -> None:
        return None


def document() -> str:
    """Return the description of the API as it is built by default."""
    return json.dumps(create_api(_Unserved).openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
