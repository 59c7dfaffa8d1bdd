"""Examples of what operations take and answer, for the API's description."""

from __future__ import annotations

from typing import Any

from app.api.openapi.example_problems import problems
from app.api.openapi.example_sagas import EVENT_ID, ORDER, SAGA_ID, operated, plan, sagas
from app.api.schemas.outcome import saga_url
from app.settings.webhook_endpoints import EventName

_STREAM = """retry: 2000

id: 1
event: saga_started
data: {"seq":1,"at":"2026-11-23T09:00:00.000000Z","event":"saga_started"}

id: 2
event: step_failed
data: {"seq":2,"at":"2026-11-23T09:00:00.104000Z","event":"step_failed","step":"payment","attempt":1}

id: 3
event: saga_compensated
data: {"seq":3,"at":"2026-11-23T09:00:00.104000Z","event":"saga_compensated"}

event: end
data: {}
"""
_TEXT = "ck_k3y9abcd_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
_FIRST_KEY = {"caller": "ops", "who": "ada", "scopes": ["checkout", "operate", "keys"], "everyone": True}
_NEW_KEY = {"caller": "shop", "who": "shop-backend", "scopes": ["checkout"]}
_A_KEY = {
    "id": "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55",
    "prefix": "k3y9abcd",
    **_NEW_KEY,
    "everyone": False,
    "created_at": "2026-11-23T09:00:00.000000Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
    "created_by": "ada",
    "created_by_key": "0193b3c8-11d0-7f0a-9c46-2f1f0c7a6b1e",
}
_READS = "rt_k3y9abcd_1769766300_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
_A_READ_TOKEN = {
    "token": _READS,
    "expires_at": "2026-01-30T09:45:00.000000Z",
    "saga_url": f"/sagas/{SAGA_ID}?read_token={_READS}",
    "events_url": f"/sagas/{SAGA_ID}/events?read_token={_READS}",
}


def _readiness(wrong: str | None) -> dict[str, Any]:
    well: dict[str, Any] = {"ok": True}
    last = well if wrong is None else {"ok": False, "detail": wrong}
    return {
        "ready": wrong is None,
        "checks": {"database": well, "schema": well, "lease": well, "draining": last},
    }


Shown = dict[tuple[str, str], dict[str, Any]]
"""Examples by an operation's name and the status of the answer, or `request`; each by its own name."""

SUMMARIES = {
    "first": {"summary": "A service's first key"},
    "shop": {"summary": "A shop's key, created with that"},
}


def of_operations() -> Shown:
    """Return the examples of what each operation takes and answers; problems have their own."""
    saga, acted = sagas(), operated()
    running, reason = {"running": saga["running"]}, {"reason": "The customer called."}
    resolution = {"step": "payment", "reference": "bank transfer 4711", **reason}
    page = {"data": [saga["running"]], "next_cursor": "AZwLfl8AejGMIlsNnk96EA"}
    actions: Shown = {}
    for action, given in (("cancel", reason), ("retry", reason), ("resolve", resolution)):
        actions[f"{action}_saga", "request"] = {action: given}
        actions[f"{action}_saga", "200"] = {"inactive": acted[action]}
        actions[f"{action}_saga", "202"] = running
    return actions | {
        ("place_checkout", "request"): {"order": ORDER},
        ("place_checkout", "200"): {"plan": plan()},
        ("place_checkout", "201"): {"completed": saga["completed"]},
        ("place_checkout", "202"): {name: saga[name] for name in ("running", "needs_attention")},
        ("read_saga", "200"): saga,
        ("watch_saga", "200"): {"stream": _STREAM},
        ("issue_read_token", "201"): {"token": _A_READ_TOKEN},
        ("list_sagas", "200"): {"page": page},
        ("read_events", "200"): {"events": events()},
        ("list_webhooks", "200"): {"endpoints": {"data": [endpoint()]}},
        ("list_deliveries", "200"): {"page": {"data": [delivery()], "next_cursor": None}},
        ("redeliver_delivery", "request"): {"nothing": {}},
        ("redeliver_delivery", "202"): {"again": delivery()},
        ("enable_webhook", "request"): {"nothing": {}},
        ("enable_webhook", "200"): {"enabled": endpoint()},
        ("check_liveness", "200"): {"alive": {"alive": True}},
        ("check_readiness", "200"): {"ready": _readiness(None)},
        ("check_readiness", "503"): {"not_ready": _readiness("It is shutting down.")},
        ("create_key", "201"): {"key": {**_A_KEY, "key": _TEXT}},
        ("create_key", "request"): {"first": _FIRST_KEY, "shop": _NEW_KEY},
        ("list_keys", "200"): {"keys": {"data": [_A_KEY]}},
        ("revoke_key", "200"): {"key": _A_KEY},
        ("read_metrics", "200"): {"some": 'checkout_sagas_finished_total{outcome="completed"} 7.0\n'},
    }


def webhook(event: EventName) -> dict[str, Any]:
    """Return the example of what an endpoint is sent of an event."""
    ended = {
        EventName.COMPLETED: sagas()["completed"],
        EventName.COMPENSATED: problems()["shipping_refused"]["saga"],
        EventName.NEEDS_ATTENTION: sagas()["needs_attention"],
    }
    return {"type": event.value, "timestamp": ended[event]["updated_at"], "data": ended[event]}


def events() -> dict[str, Any]:
    """Return the example of a feed with one event."""
    return {
        "data": [
            {
                "id": EVENT_ID,
                "type": "checkout.completed",
                "timestamp": "2026-01-30T09:30:00.080000Z",
                "data": sagas()["completed"],
            }
        ],
        "next": "AAAAAAAAAukAAAAAAAAAAQ",
        "more": False,
    }


def endpoint() -> dict[str, Any]:
    """Return the example of an endpoint."""
    return {
        "name": "shop",
        "url": "https://shop.example/hooks",
        "enabled": True,
        "reason": None,
        "changed_at": "2026-01-30T09:00:00.000000Z",
        "events": ["checkout.compensated", "checkout.completed", "checkout.needs_attention"],
        "callers": None,
        "waiting": 1,
        "failed": 0,
        "oldest_waiting_at": "2026-01-30T09:30:00.080000Z",
        "lag_seconds": 0.4,
    }


def delivery() -> dict[str, Any]:
    """Return the example of a delivery."""
    return {
        "id": 17,
        "endpoint": "shop",
        "event_id": EVENT_ID,
        "type": "checkout.completed",
        "saga_url": saga_url(SAGA_ID),
        "timestamp": "2026-01-30T09:30:00.080000Z",
        "status": "pending",
        "attempts": 1,
        "next_attempt_at": "2026-01-30T09:30:05.120000Z",
        "delivered_at": None,
        "last_status": 503,
        "last_error": "The receiver answered 503.",
    }
