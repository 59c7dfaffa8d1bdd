"""The API's limits, as plain values, which the composition root sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiSettings:
    """What the API allows. Times are in seconds.

    `wait_seconds` is how long `POST /checkout` waits for the outcome unless the caller prefers otherwise,
    `operate_wait_seconds` the same of an operator's action, `max_wait_seconds` the most that a caller gets.
    `storage_timeout_seconds` is how long storage may take to answer before the caller gets 503, `body_seconds` how
    long a caller may take to send a body, `max_uploads` how many may do so at once. `heartbeat_seconds` is the longest
    silence of a stream of events. `rate_limit_per_second` is for each caller, 0 for none. `allow_unauthenticated`
    serves without keys also where others can reach it, `public_metrics` gives /metrics to everybody, `cors_origins`
    are the sites whose pages may ask (`https://shop.example`), `health_cache_seconds` is the lifetime of /readyz's
    answer. `refusal_hold_seconds` is how long the answer to a checkout beyond `max_in_flight` waits. `simulate_allowed` lets `X-Simulate` through, for the sandbox.
    """

    max_body_bytes: int = 65_536
    body_seconds: float = 10.0
    max_uploads: int = 1024
    max_items: int = 100
    max_in_flight: int = 512
    refusal_hold_seconds: float = 0.5
    wait_seconds: float = 25.0
    operate_wait_seconds: float = 5.0
    max_wait_seconds: float = 60.0
    storage_timeout_seconds: float = 10.0
    require_idempotency_key: bool = False
    page_size: int = 20
    max_page_size: int = 100
    heartbeat_seconds: float = 15.0
    rate_limit_per_second: float = 0.0
    allow_unauthenticated: bool = False
    public_metrics: bool = False
    cors_origins: tuple[str, ...] = ()
    simulate_allowed: bool = False
    health_cache_seconds: float = 1.0
