"""Cross-origin requests (CORS): refused, except from the origins that the operator names."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

_SENT = (
    *("Authorization", "Content-Type", "Idempotency-Key", "Prefer", "If-Match", "If-None-Match"),
    *("Last-Event-ID", "X-Request-ID", "X-Simulate", "traceparent"),
)
_READ = (
    *("Location", "Retry-After", "ETag", "Idempotent-Replayed", "Preference-Applied", "Saga-Status", "Link"),
    *("X-Request-ID", "WWW-Authenticate"),
)
_CACHED_SECONDS = 600


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Allow requests from pages of these origins, with a key or a read token of their own.

    Never with a cookie: an operator who has signed in to the dashboard hasn't agreed to what another site's page does.
    This wraps everything that may refuse a request, so that a page can read why.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=_SENT,
        expose_headers=_READ,
        max_age=_CACHED_SECONDS,
    )
