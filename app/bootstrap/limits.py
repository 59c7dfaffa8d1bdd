"""The API's share of the settings, and the limits of a client's connection."""

from __future__ import annotations

from uuid_utils import uuid4

from app.api import ApiSettings
from app.api.problems.problem import MEDIA_TYPE, Problem
from app.server import ConnectionLimits
from app.settings.settings import Settings


def api_settings(settings: Settings) -> ApiSettings:
    """Return the API's share of the settings."""
    return ApiSettings(
        max_body_bytes=settings.max_body_bytes,
        body_seconds=settings.body_timeout_seconds,
        max_uploads=settings.max_uploads,
        max_items=settings.max_items,
        max_in_flight=settings.max_in_flight,
        wait_seconds=settings.wait_seconds,
        max_wait_seconds=settings.max_wait_seconds,
        storage_timeout_seconds=settings.storage_timeout_seconds,
        require_idempotency_key=settings.require_idempotency_key,
        page_size=settings.page_size,
        max_page_size=settings.max_page_size,
        rate_limit_per_second=settings.rate_limit_per_second,
        allow_unauthenticated=settings.allow_unauthenticated,
        public_metrics=settings.public_metrics,
        cors_origins=settings.origins,
        heartbeat_seconds=settings.heartbeat_seconds,
        health_cache_seconds=settings.health_cache_seconds,
        simulate_allowed=settings.sandbox_remote or not settings.any_service_is_remote,
    )


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return what a client's connection may take, before the API hears of a request."""
    return ConnectionLimits(
        head_bytes=settings.max_header_bytes,
        head_seconds=settings.header_timeout_seconds,
        idle_seconds=settings.keep_alive_seconds,
        refusal=_refusal,
    )


_REFUSALS = {400: "bad_request", 408: "request_timeout", 431: "header_fields_too_large"}


def _refusal(status: int, words: str) -> tuple[bytes, bytes]:
    answer = Problem(_REFUSALS[status], words).response(str(uuid4()))
    return MEDIA_TYPE.encode(), bytes(answer.body)
