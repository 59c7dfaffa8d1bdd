"""The API keys, and the refusal to serve others without any."""

from __future__ import annotations

from app.access.keys import Keys
from app.access.unknown_credentials import UnknownCredentials
from app.api.middleware.proxies.loopback import is_loopback
from app.process.ids import new_saga_id
from app.saga.ports.clock import SystemClock
from app.server.running import running_server
from app.settings.settings import Settings
from app.storage import Storage
from app.storage.access.keys import SqlKeys


async def open_keys(settings: Settings, storage: Storage, clock: SystemClock) -> Keys:
    """Return the API keys. Raise `UnauthenticatedExposure` where there are none, and others can reach the service."""
    keys = Keys(
        SqlKeys(storage.log),
        now=clock.now,
        new_id=lambda: new_saga_id(clock.now()),
        cache_seconds=settings.key_cache_seconds,
        unknown=UnknownCredentials(
            seconds=settings.key_cache_seconds, per_second=settings.unknown_keys_per_second
        ),
    )
    if not settings.allow_unauthenticated and not await keys.required():
        _refuse_to_be_open_elsewhere()
    return keys


class UnauthenticatedExposure(RuntimeError):
    """The service has no keys, and would listen where others can reach it."""


def _refuse_to_be_open_elsewhere() -> None:
    """Raise `UnauthenticatedExposure` where uvicorn listens beyond loopback; under another server each request is checked."""
    server = running_server()
    if server is not None:
        host = server.config.host
        if server.config.fd is None and server.config.uds is None and not is_loopback(host):
            raise UnauthenticatedExposure(
                f"There is no API key yet, so anybody who reaches {host} could check out and operate: create one with "
                "`python -m app keys create`, listen on 127.0.0.1, or set CHECKOUT_ALLOW_UNAUTHENTICATED=true where something "
                "else controls access."
            )
