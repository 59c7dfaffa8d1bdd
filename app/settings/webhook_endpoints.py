"""Webhook endpoints as the operator configures them, and the events that they are sent.

    CHECKOUT_WEBHOOKS='[{"name": "shop", "url": "https://shop.example/hooks", "secret": "whsec_…"}]'

Members: `name`, `url`, `secret` (or `secrets`: two, while one takes the other's place), and the filters
`events` (types) and `callers` (names); without a filter everything is sent.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, urlsplit

from app.settings.ssrf_guard import is_address, is_public_address


class EventName(StrEnum):
    """How a checkout ended, as endpoints are notified."""

    COMPLETED = "checkout.completed"
    COMPENSATED = "checkout.compensated"
    NEEDS_ATTENTION = "checkout.needs_attention"


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where events are sent. `secrets` are the keys to sign with, the newest first; `callers` None means everyone's."""

    name: str
    url: str
    secrets: tuple[bytes, ...] = field(repr=False)
    events: frozenset[EventName] = frozenset(EventName)
    callers: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lag:
    """How far behind an endpoint is: the age of the oldest event that it is still to get."""

    endpoint: str
    enabled: bool
    seconds: float


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_MEMBERS = {"name", "url", "secret", "secrets", "events", "callers"}
_PREFIX = "whsec_"


def endpoints_of(text: str, *, allow_private: bool = False) -> tuple[Endpoint, ...]:
    """Return the endpoints that a setting's JSON describes.

    Raise `ValueError` in a sentence that names the endpoint and repeats no secret.
    """
    if not text.strip():
        return ()
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ValueError(
            "CHECKOUT_WEBHOOKS must be a JSON list of objects with name, url and secret, such as "
            '[{"name": "shop", "url": "https://shop.example/hooks", "secret": "whsec_…"}].'
        )
    found = tuple(_endpoint(one, allow_private=allow_private) for one in listed)
    names = [endpoint.name for endpoint in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"CHECKOUT_WEBHOOKS has two endpoints named {name}: give each a name of its own."
            )
    return found


def _endpoint(given: dict[str, Any], *, allow_private: bool) -> Endpoint:
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("Each endpoint in CHECKOUT_WEBHOOKS needs a name: a-z, 0-9, _ and -, at most 63.")
    if unknown := sorted(set(given) - _MEMBERS):
        raise _bad(name, f"has a member that isn't known ({', '.join(unknown)[:60]}).")
    events = given.get("events")
    callers = given.get("callers")
    if events is not None and not (_texts(events) and set(events) <= set(EventName)):
        raise _bad(name, f"can filter these events: {', '.join(EventName)}.")
    if callers is not None and not _texts(callers):
        raise _bad(name, "needs a list of names as its callers, or none.")
    return Endpoint(
        name=name,
        url=_url(name, given.get("url"), allow_private=allow_private),
        secrets=_secrets(name, given),
        events=frozenset(EventName) if events is None else frozenset(map(EventName, events)),
        callers=None if callers is None else frozenset(callers),
    )


def _secrets(name: str, given: dict[str, Any]) -> tuple[bytes, ...]:
    secrets = given.get("secrets", [given.get("secret")])
    if ("secret" in given) is ("secrets" in given) or not _texts(secrets) or len(secrets) > 2:
        raise _bad(name, "needs one secret, or a list of two as its secrets while they are rotated.")
    return tuple(_key(name, secret) for secret in secrets)


def _key(name: str, secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise _bad(name, "needs a secret of the form whsec_ and 24 to 64 bytes in base64.")
    return key


def _url(name: str, url: object, *, allow_private: bool) -> str:
    parts = _split(url)
    if parts is None or not parts.hostname or parts.username is not None or parts.fragment:
        raise _bad(name, "needs a url such as https://host/path, without user or fragment.")
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise _bad(name, "needs an https:// url (http:// only with CHECKOUT_WEBHOOKS_ALLOW_PRIVATE=true).")
    if not allow_private and is_address(parts.hostname) and not is_public_address(parts.hostname):
        raise _bad(name, "has a private address: that needs CHECKOUT_WEBHOOKS_ALLOW_PRIVATE=true.")
    return parts.geturl()


def _split(url: object) -> SplitResult | None:
    if not isinstance(url, str) or not re.fullmatch(r"[!-~]{1,2000}", url):
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (asking for it is the check)
    except ValueError:
        return None
    return parts


def _texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _bad(name: str, what: str) -> ValueError:
    return ValueError(f"The endpoint {name} in CHECKOUT_WEBHOOKS {what}")
