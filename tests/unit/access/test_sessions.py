"""Sessions of the dashboard, on either database: who has signed in, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime

import pytest

from app.access.keys import ApiKey, Keys
from app.access.scopes import Scope
from app.access.sessions import Sessions, form_token
from app.access.unknown_credentials import TooManyUnknownCredentials, UnknownCredentials
from app.storage import Storage, open_storage
from app.storage.access.keys import SqlKeys
from app.storage.access.sessions import SqlSessions
from app.storage.engine.tables import session
from tests.builders import VirtualClock, an_id

HOURS = 2.0


class Replicas:
    """Sessions over a database, with a virtual clock."""

    def __init__(self, storage: Storage) -> None:
        self.clock = VirtualClock()
        self.storage = storage
        self.keys = Keys(SqlKeys(storage.log), now=self.clock.now, new_id=an_id, cache_seconds=0)

    def a_replica(self) -> Sessions:
        return Sessions(self.keys, SqlSessions(self.storage.log), now=self.clock.now, hours=HOURS)

    async def a_key(self) -> tuple[ApiKey, str]:
        return await self.keys.create(caller="shop", who="ada", scopes=[Scope.READ])


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[Replicas]:
    async with open_storage(database_url) as storage:
        yield Replicas(storage)


async def signed_in(replicas: Replicas, key: str) -> str:
    token = await replicas.a_replica().sign_in(key)
    assert token is not None
    return token


async def test_a_session_is_valid_at_every_replica_until_it_expires(replicas: Replicas) -> None:
    """For the configured hours, and not a moment longer."""
    _, key = await replicas.a_key()
    token = await signed_in(replicas, key)
    caller = await replicas.a_replica().authenticate(token)
    assert caller is not None
    assert (caller.tenant, caller.subject) == ("shop", "ada")
    replicas.clock.advance(HOURS * 3600 - 1)
    assert await replicas.a_replica().authenticate(token) is not None
    replicas.clock.advance(1)
    assert await replicas.a_replica().authenticate(token) is None


async def test_a_session_ends_with_its_key(replicas: Replicas) -> None:
    """Revoking a key ends the sessions that were signed in with it."""
    made, key = await replicas.a_key()
    token = await signed_in(replicas, key)
    await replicas.keys.revoke(made.id)
    assert await replicas.a_replica().authenticate(token) is None
    assert await replicas.a_replica().sign_in(key) is None


async def test_signing_out_ends_one_session_and_no_other(replicas: Replicas) -> None:
    """The same person's phone stays signed in."""
    _, key = await replicas.a_key()
    one, other = await signed_in(replicas, key), await signed_in(replicas, key)
    await replicas.a_replica().sign_out(one)
    assert await replicas.a_replica().authenticate(one) is None
    assert await replicas.a_replica().authenticate(other) is not None


async def test_the_database_holds_no_credentials(replicas: Replicas) -> None:
    """Reading the table gives nobody a session; and expired sessions are deleted."""
    _, key = await replicas.a_key()
    first = await signed_in(replicas, key)
    replicas.clock.advance(HOURS * 3600)
    second = await signed_in(replicas, key)
    async with replicas.storage.log.reading() as connection:
        rows = (await connection.execute(session.select())).all()
    assert len(rows) == 1
    kept = " ".join(map(str, rows[0]))
    assert first not in kept
    assert second not in kept
    assert form_token(second) not in kept
    assert await replicas.a_replica().authenticate(rows[0].digest) is None


async def test_a_form_token_belongs_to_one_session(replicas: Replicas) -> None:
    """Another session's token is another."""
    _, key = await replicas.a_key()
    one, other = await signed_in(replicas, key), await signed_in(replicas, key)
    assert form_token(one) == form_token(one)
    assert form_token(one) != form_token(other)


async def test_requests_with_unknown_sessions_cost_next_to_nothing(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is looked up once, an address has a rate of them, and signing out writes nothing."""
    replicas.keys.unknown = UnknownCredentials(seconds=5, per_second=1, clock=lambda: 0.0)
    sessions, asked = replicas.a_replica(), []
    find = SqlSessions.find

    async def counted(store: SqlSessions, digest: str, *, at: datetime) -> ApiKey | None:
        asked.append("looked up")
        return await find(store, digest, at=at)

    async def ended(_: SqlSessions, _digest: str) -> None:
        asked.append("written")

    monkeypatch.setattr(SqlSessions, "find", counted)
    monkeypatch.setattr(SqlSessions, "end", ended)
    for unknown in ("a", "a", "b"):
        await sessions.sign_out(unknown, address="192.0.2.1")
        assert await sessions.authenticate(unknown, address="192.0.2.1") is None
    assert asked == ["looked up", "looked up"]
    with pytest.raises(TooManyUnknownCredentials):
        await sessions.authenticate("c", address="192.0.2.1")
    _, key = await replicas.a_key()
    token = await sessions.sign_in(key)
    assert token is not None
    for _ in range(2):  # a session is never locked out by others at its address
        assert await replicas.a_replica().authenticate(token, address="192.0.2.1") is not None
    assert await sessions.authenticate(token, address="192.0.2.1") is not None
    monkeypatch.undo()
    await sessions.sign_out(token, address="192.0.2.1")
    monkeypatch.setattr(SqlSessions, "find", counted)
    asked.clear()
    for _ in range(5):
        with suppress(TooManyUnknownCredentials):
            assert await sessions.authenticate(token, address="192.0.2.1") is None
    assert len(asked) == 1
