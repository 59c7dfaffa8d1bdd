"""What endpoints are sent, for the API's description: one operation for each event, as Standard Webhooks has it."""

from __future__ import annotations

from typing import Any

from app.api.openapi import examples
from app.settings.webhook_endpoints import EventName

Described = dict[str, Any]

_WORDS = {
    EventName.COMPLETED: "A checkout completed: ship the order.",
    EventName.COMPENSATED: "A checkout failed, and everything done was compensated.",
    EventName.NEEDS_ATTENTION: "A checkout needs attention: an operator has to act, then it continues.",
}
_HEADERS = (
    ("webhook-id", "The event's id, the same at every delivery: drop what you have.", {"type": "string"}),
    ("webhook-timestamp", "When it was sent, in seconds since 1970.", {"type": "string"}),
    ("webhook-signature", "`v1,` and the signature; several with blanks between.", {"type": "string"}),
)


def webhooks() -> dict[str, Described]:
    """Return the section, by the event's type."""
    return {event.value: {"post": _operation(event, words)} for event, words in _WORDS.items()}


def _operation(event: EventName, words: str) -> Described:
    kind = event.value.partition(".")[2]
    return {
        "tags": ["webhooks"],
        "summary": words.partition(":")[0],
        "description": f"{words} It is sent again until it is answered 2xx within the time that the server waits.",
        "operationId": f"receive_checkout_{kind}",
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": said, "schema": schema}
            for name, said, schema in _HEADERS
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/WebhookEvent"},
                    "examples": {kind: {"value": examples.webhook(event)}},
                }
            },
        },
        "responses": {
            "2XX": {"description": "It is stored here, and isn't sent again."},
            "410": {"description": "Nothing more is sent to this endpoint until an operator enables it."},
            "default": {"description": "It is sent again later; a Retry-After is heeded."},
        },
    }
