"""The whole HTTP application: the API, the operator dashboard, and the documentation."""

from __future__ import annotations

from fastapi import FastAPI

from app.api import ApiSettings, OpenService, create_api
from app.dashboard.rendering import compile_templates
from app.dashboard.routes import ROUTERS


def create_app(open_service: OpenService, settings: ApiSettings | None = None) -> FastAPI:
    """Return the application. `open_service()` is entered when the server starts and left when it stops."""
    return create_api(open_service, settings, also=ROUTERS, warm_up=compile_templates)
