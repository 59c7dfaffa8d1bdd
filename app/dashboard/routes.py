"""The routes of the operator dashboard, and of the documentation."""

from __future__ import annotations

from app.dashboard import live, static_files
from app.dashboard.pages import docs, list_page, saga_page, sign_in

ROUTERS = (
    docs.router,
    list_page.router,
    saga_page.router,
    live.router,
    static_files.router,
    sign_in.router,
)
