"""The base path under which clients reach the service: removed from each request, and added to each link.

It comes from a trusted proxy's `X-Forwarded-Prefix`, or else from `--root-path`. The proxy may strip it or keep it.
Behind this middleware every path is the service's own (`/checkout`), so that no route, right or limit depends on where
it is served. `link` gives the path that a client needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.middleware.proxies.forwarded import forwarded_prefix

_base: ContextVar[str] = ContextVar("base_path", default="")

OWN = frozenset(
    {
        *("checkout", "sagas", "events", "webhooks", "keys", "dashboard"),
        *("livez", "readyz", "metrics", "openapi.json", "docs", "problems"),
    }
)
"""What the service's own paths begin with. The proxy has to strip a base path that begins with one of these."""


def link(path: str) -> str:
    """Return the path under which the client of the current request reaches one of the service's own paths."""
    return _base.get() + path


def base_path() -> str:
    """Return the base path of the current request's client: empty, or such as `/shop`."""
    return _base.get()


@contextmanager
def reached_under(path: str) -> Iterator[None]:
    """Use this base path in `link` within the block, whatever the request: for cached content."""
    token = _base.set(path)
    try:
        yield
    finally:
        _base.reset(token)


class BasePath:
    """Wraps the whole API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        root, prefix = scope.get("root_path", ""), forwarded_prefix(scope)
        if not root and prefix is None:
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(root)  # the server adds it to every path
        if prefix is None:
            prefix = quote(f"/{root.strip('/')}") if root.strip("/") else ""
        if prefix and prefix.split("/")[1] not in OWN:
            path = _without(path, prefix)
        path = path if path.startswith("/") else f"/{path}"
        token = _base.set(prefix)
        try:
            await self._app({**scope, "path": path, "root_path": ""}, receive, send)
        finally:
            _base.reset(token)


def _without(path: str, prefix: str) -> str:
    """Return a path without the prefix, if the proxy has kept it."""
    kept = path == prefix or path.startswith(f"{prefix}/")
    return path[len(prefix) :] if kept else path
