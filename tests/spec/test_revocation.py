"""What is open ends once its caller may no longer ask."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from pydantic import SecretStr

from app.access.scopes import Scope
from app.api.middleware.credentials import COOKIE
from app.settings.settings import Settings
from tests.in_process import a_client, an_app
from tests.processes import an_order

STREAM_CACHE_SECONDS = 0.6
HELD_SECONDS = 30.0
"""So long nobody waits for the end of what should have ended long before: a heartbeat or a long poll takes 60."""


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/sagas/{id}/events", "revoked"),
        ("/sagas/{id}/events", "expired"),
        ("/sagas/{id}/events", "signed out"),
        ("/dashboard/live", "signed out"),
        ("/dashboard/live", "key of the session revoked"),
        ("/events", "revoked"),
        ("/sagas/{id}", "revoked"),
    ],
)
async def test_what_is_open_ends_once_the_caller_may_no_longer_ask(
    sqlite_url: str, how: str, path: str
) -> None:
    """A stream or a long poll, in the time that a revocation takes; a caller who still may ask is left alone."""
    settings = Settings(
        database_url=SecretStr(sqlite_url),
        sandbox_database=":memory:",
        key_cache_seconds=STREAM_CACHE_SECONDS,
        heartbeat_seconds=60,
        step_max_attempts=50,
    )
    async with an_app(settings) as app, a_client(app) as client:
        keys, service = app.state.service.keys, app.state.service
        opens = frozenset({Scope.OPERATE, Scope.KEYS, Scope.CHECKOUT})
        _, root = await keys.create(caller="ops", who="root", scopes=opens, everyone=True)
        others = {"Authorization": f"Bearer {root}"}
        stuck = {"X-Simulate": "shipping.execute=rejected, payment.compensate=not_reversible:99"}
        saga = (await client.post("/checkout", json=an_order("ord-1"), headers=others | stuck)).json()
        end = (await client.get("/events", headers=others)).json()["next"]
        url = path.format(id=saga["id"]) + (f"?after={end}" if path == "/events" else "")
        wait = {"Prefer": "wait=60"}
        if path == "/sagas/{id}":  # one that goes on: a saga at rest is answered at once
            slow = {"X-Simulate": "payment.execute=unavailable:99", "Prefer": "respond-async"}
            saga = (await client.post("/checkout", json=an_order("ord-2"), headers=others | slow)).json()
            url = f"/sagas/{saga['id']}"
        # Last, so that little of its time is over when it asks.
        expires_at = service.now() + timedelta(seconds=3) if how == "expired" else None
        key, text = await keys.create(
            caller="ops", who="eve", scopes=opens, everyone=True, expires_at=expires_at
        )
        by_session = how in {"signed out", "key of the session revoked"}
        session = await service.sessions.sign_in(text) if by_session else ""
        mine = {"Cookie": f"{COOKIE}={session}"} if by_session else {"Authorization": f"Bearer {text}"}
        open_one = asyncio.create_task(client.get(url, headers=mine | wait, timeout=90))
        anothers = asyncio.create_task(client.get(url, headers=others | wait, timeout=90))
        try:
            await asyncio.sleep(STREAM_CACHE_SECONDS * 2)
            if how != "expired":  # which it may be by now, where the machine is slow
                assert not open_one.done(), "whoever may ask is answered on"
            if how == "signed out":
                await service.sessions.sign_out(session)
            elif how != "expired":
                await keys._store.revoke(
                    key.id, at=service.now()
                )  # at another replica, which tells nobody here
            async with asyncio.timeout(HELD_SECONDS):
                answer = await open_one
            streamed = path in {"/sagas/{id}/events", "/dashboard/live"}
            assert answer.status_code == (200 if streamed else 401)
            assert not anothers.done()
        finally:
            for task in (open_one, anothers):
                task.cancel()
            await asyncio.gather(open_one, anothers, return_exceptions=True)
