"""The routes of the operator dashboard, and of the documentation."""

from __future__ import annotations

from app.dashboard import docs, list_page, live, saga_page, sign_in, static_files

ROUTERS = (
    docs.router,
    list_page.router,
    saga_page.router,
    live.router,
    static_files.router,
    sign_in.router,
)
