"""The whole service in the test's own process: everything of it but the server, the sockets and the start.

async with a_service(settings) as client:           async with an_app(settings) as app:
    await client.post("/checkout", json=order)          app.state.service.keys …
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2 as httpx
from fastapi import FastAPI

from app.bootstrap.http_app import create_app
from app.bootstrap.limits import api_settings
from app.bootstrap.service import open_service
from app.settings.settings import Settings

HERE = "http://127.0.0.1"


@asynccontextmanager
async def an_app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Give the service's application, which runs until the block ends."""
    app = create_app(lambda: open_service(settings), api_settings(settings))
    async with app.router.lifespan_context(app):
        yield app


def a_client(app: FastAPI, base_url: str = HERE) -> httpx.AsyncClient:
    """Return a client of a running application, on the same machine; it is to be entered."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url)


@asynccontextmanager
async def a_service(settings: Settings, base_url: str = HERE) -> AsyncIterator[httpx.AsyncClient]:
    """Run the service until the block ends, and give a client of it."""
    async with an_app(settings) as app, a_client(app, base_url) as client:
        yield client
